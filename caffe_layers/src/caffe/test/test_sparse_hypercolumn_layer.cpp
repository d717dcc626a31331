#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "gtest/gtest.h"

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/filler.hpp"
#include "caffe/layers/sparse_hypercolumn_layer.hpp"
#include "caffe/test/test_caffe_main.hpp"
#include "caffe/test/test_gradient_check_util.hpp"

namespace caffe {

// Bilinear interpolation as a textbook writes it, for one value.
template <typename Dtype>
double NaiveBilinear(const Blob<Dtype>& map, int n, int c, double y, double x) {
  const int height = map.shape(2), width = map.shape(3);
  y = std::min(std::max(y, 0.0), height - 1.0);
  x = std::min(std::max(x, 0.0), width - 1.0);
  double value = 0;
  for (int i = 0; i < height; ++i) {
    for (int j = 0; j < width; ++j) {
      const double weight = std::max(0.0, 1 - std::abs(y - i)) * std::max(0.0, 1 - std::abs(x - j));
      value += weight * map.data_at(n, c, i, j);
    }
  }
  return value;
}

template <typename TypeParam>
class SparseHypercolumnLayerTest : public MultiDeviceTest<TypeParam> {
  typedef typename TypeParam::Dtype Dtype;

 protected:
  SparseHypercolumnLayerTest() {
    Caffe::set_random_seed(1701);
    Resize(2, 5, {{2, 6, 7}, {3, 3, 4}, {1, 1, 1}});
    SparseHypercolumnParameter* param = layer_param_.mutable_sparse_hypercolumn_param();
    layer_param_.set_name("columns");
    for (float scale : {1.f, 2.f, 4.f}) {
      param->add_scale(scale);
      param->add_offset_height((scale - 1) / 2);
      param->add_offset_width((scale - 1) / 2 + 0.25f);
      param->add_activation_mult(scale / 2);
    }
    top_vec_.push_back(&top_);
  }

  void Resize(int images, int locations, const std::vector<std::vector<int> >& levels) {
    blobs_.clear();
    blobs_.emplace_back(new Blob<Dtype>(std::vector<int>{images, locations, 2}));
    FillerParameter around;
    around.set_min(-1.3);
    around.set_max(7.6);
    UniformFiller<Dtype>(around).Fill(blobs_[0].get());
    for (const std::vector<int>& level : levels) {
      blobs_.emplace_back(new Blob<Dtype>(images, level[0], level[1], level[2]));
      GaussianFiller<Dtype>(FillerParameter()).Fill(blobs_.back().get());
    }
    bottom_vec_.clear();
    for (auto& blob : blobs_) bottom_vec_.push_back(blob.get());
  }

  // Turns the locations into rows (image, y, x) in no order, with another number an image; the
  // second of several images has none.
  void ToRows() {
    const int images = blobs_[0]->shape(0), rows = blobs_[0]->count() / 2;
    shared_ptr<Blob<Dtype> > blob(new Blob<Dtype>(std::vector<int>{rows, 3}));
    for (int row = 0; row < rows; ++row) {
      const int image = row * row % 7 * images / 7;
      Dtype* values = blob->mutable_cpu_data() + 3 * row;
      values[0] = image == 1 ? 0 : image;
      values[1] = blobs_[0]->cpu_data()[2 * row];
      values[2] = blobs_[0]->cpu_data()[2 * row + 1];
    }
    blobs_[0] = blob;
    bottom_vec_[0] = blob.get();
  }

  struct Place {
    int image;
    double y, x;  // of the level
  };
  Place PlaceOf(int row, int l) const {
    const SparseHypercolumnParameter& param = layer_param_.sparse_hypercolumn_param();
    const int columns = blobs_[0]->shape().back();
    const Dtype* at = blobs_[0]->cpu_data() + columns * row;
    const int image = columns == 3 ? static_cast<int>(at[0]) : row / blobs_[0]->shape(1);
    return {image, (at[columns - 2] - param.offset_height(l)) / param.scale(l),
            (at[columns - 1] - param.offset_width(l)) / param.scale(l)};
  }

  void CheckAgainstNaive(Layer<Dtype>* layer) {
    layer->Forward(bottom_vec_, top_vec_);
    const SparseHypercolumnParameter& param = layer_param_.sparse_hypercolumn_param();
    for (int row = 0; row < top_.shape(0); ++row) {
      int channel = 0;
      for (size_t l = 0; l + 1 < blobs_.size(); ++l) {
        const Place at = PlaceOf(row, l);
        for (int c = 0; c < blobs_[l + 1]->shape(1); ++c, ++channel) {
          // Four products of values of order one, rounded in Dtype.
          EXPECT_NEAR(
              param.activation_mult(l) * NaiveBilinear(*blobs_[l + 1], at.image, c, at.y, at.x),
              top_.data_at(std::vector<int>{row, channel}), sizeof(Dtype) == 4 ? 1e-5 : 1e-12);
        }
      }
    }
  }

  // The gradient of each cell as the sum, over all rows, of what the row read of it.
  void CheckGradientAgainstNaive(Layer<Dtype>* layer) {
    Blob<Dtype> probe(top_.shape());
    GaussianFiller<Dtype>(FillerParameter()).Fill(&probe);
    std::memcpy(top_.mutable_cpu_diff(), probe.cpu_data(), probe.count() * sizeof(Dtype));
    std::vector<bool> propagate_down(bottom_vec_.size(), true);
    propagate_down[0] = false;
    layer->Backward(top_vec_, propagate_down, bottom_vec_);
    int first = 0;
    for (size_t l = 0; l + 1 < blobs_.size(); ++l) {
      const Blob<Dtype>& map = *blobs_[l + 1];
      const int height = map.shape(2), width = map.shape(3);
      for (int i = 0; i < map.count(); ++i) {
        const int n = i / map.count(1), c = i / map.count(2) % map.shape(1);
        double expected = 0;
        for (int row = 0; row < top_.shape(0); ++row) {
          const Place at = PlaceOf(row, l);
          if (at.image != n) continue;
          const double y = std::min(std::max(at.y, 0.0), height - 1.0);
          const double x = std::min(std::max(at.x, 0.0), width - 1.0);
          expected += layer_param_.sparse_hypercolumn_param().activation_mult(l) *
                      std::max(0.0, 1 - std::abs(y - i / width % height)) *
                      std::max(0.0, 1 - std::abs(x - i % width)) *
                      probe.data_at(std::vector<int>{row, first + c});
        }
        // Sums of at most 120 values of order one.
        ASSERT_NEAR(expected, map.cpu_diff()[i], sizeof(Dtype) == 4 ? 1e-4 : 1e-11) << i;
      }
      first += map.shape(1);
    }
  }

  LayerParameter layer_param_;
  std::vector<shared_ptr<Blob<Dtype> > > blobs_;
  Blob<Dtype> top_;
  std::vector<Blob<Dtype>*> bottom_vec_, top_vec_;
};

TYPED_TEST_CASE(SparseHypercolumnLayerTest, TestDtypesAndDevices);

TYPED_TEST(SparseHypercolumnLayerTest, TestLiteral) {
  typedef typename TypeParam::Dtype Dtype;
  this->Resize(1, 3, {{1, 2, 2}});
  LayerParameter param;
  param.mutable_sparse_hypercolumn_param()->add_scale(2);
  param.mutable_sparse_hypercolumn_param()->add_offset_height(0.5);
  param.mutable_sparse_hypercolumn_param()->add_offset_width(0.5);
  const Dtype locations[] = {0.5, 0.5, 1.5, 1.5, 1, 90};
  const Dtype map[] = {1, 2, 3, 4};
  std::memcpy(this->blobs_[0]->mutable_cpu_data(), locations, sizeof(locations));
  std::memcpy(this->blobs_[1]->mutable_cpu_data(), map, sizeof(map));
  SparseHypercolumnLayer<Dtype> layer(param);
  layer.SetUp(this->bottom_vec_, this->top_vec_);
  layer.Forward(this->bottom_vec_, this->top_vec_);
  EXPECT_EQ(1, this->top_.cpu_data()[0]);    // the centre of cell (0, 0)
  EXPECT_EQ(2.5, this->top_.cpu_data()[1]);  // half way between all four
  EXPECT_EQ(2.5, this->top_.cpu_data()[2]);  // row 0.25, clamped to the last column: 2 + 0.25 * 2
}

// Images [[1, 2], [3, 4]] and [[5, 6], [7, 8]], the second first.
TYPED_TEST(SparseHypercolumnLayerTest, TestLiteralRows) {
  typedef typename TypeParam::Dtype Dtype;
  this->Resize(2, 2, {{1, 2, 2}});
  this->ToRows();
  LayerParameter param;
  param.mutable_sparse_hypercolumn_param()->add_scale(2);
  param.mutable_sparse_hypercolumn_param()->add_offset_height(0.5);
  param.mutable_sparse_hypercolumn_param()->add_offset_width(0.5);
  const Dtype rows[] = {1, 0.5, 0.5, 0, 1.5, 1.5, 1, 1, 90, 1, 0.5, 0.5};
  std::memcpy(this->blobs_[0]->mutable_cpu_data(), rows, sizeof(rows));
  for (int i = 0; i < 8; ++i) this->blobs_[1]->mutable_cpu_data()[i] = i + 1;
  SparseHypercolumnLayer<Dtype> layer(param);
  layer.SetUp(this->bottom_vec_, this->top_vec_);
  layer.Forward(this->bottom_vec_, this->top_vec_);
  EXPECT_EQ("4 1 (4)", this->top_.shape_string());
  const Dtype expected[] = {5, 2.5, 6.5, 5};
  for (int i = 0; i < 4; ++i) EXPECT_EQ(expected[i], this->top_.cpu_data()[i]) << i;
  const Dtype diff[] = {1, 4, 8, 100};
  std::memcpy(this->top_.mutable_cpu_diff(), diff, sizeof(diff));
  layer.Backward(this->top_vec_, {false, true}, this->bottom_vec_);
  const Dtype gradient[] = {1, 1, 1, 1, 101, 6, 0, 2};
  for (int i = 0; i < 8; ++i) EXPECT_EQ(gradient[i], this->blobs_[1]->cpu_diff()[i]) << i;
}

TYPED_TEST(SparseHypercolumnLayerTest, TestRowsAgainstNaive) {
  typedef typename TypeParam::Dtype Dtype;
  for (const bool deterministic : {false, true}) {  // for the GPU
    this->layer_param_.mutable_sparse_hypercolumn_param()->set_deterministic(deterministic);
    this->Resize(2, 5, {{2, 6, 7}, {3, 3, 4}, {1, 1, 1}});
    SparseHypercolumnLayer<Dtype> layer(this->layer_param_);
    layer.SetUp(this->bottom_vec_, this->top_vec_);
    this->CheckAgainstNaive(&layer);
    this->CheckGradientAgainstNaive(&layer);
    this->ToRows();  // the same layer, in the other form
    this->CheckAgainstNaive(&layer);
    this->CheckGradientAgainstNaive(&layer);
    this->Resize(4, 30, {{19, 8, 8}, {1, 1, 5}, {2, 3, 1}});
    this->ToRows();
    this->CheckAgainstNaive(&layer);
    this->CheckGradientAgainstNaive(&layer);
    this->Resize(1, 3, {{150, 4, 4}, {1, 1, 5}, {2, 3, 1}});
    this->ToRows();
    this->CheckAgainstNaive(&layer);
    this->CheckGradientAgainstNaive(&layer);
    this->Resize(1, 3, {{2, 4, 4}, {1, 1, 5}, {2, 3, 1}});
    this->CheckAgainstNaive(&layer);
  }
}

// Rows of equal numbers, image by image, are the other form.
TYPED_TEST(SparseHypercolumnLayerTest, TestRowsGiveTheBitsOfTheOtherForm) {
  typedef typename TypeParam::Dtype Dtype;
  this->layer_param_.mutable_sparse_hypercolumn_param()->set_deterministic(true);  // for the GPU
  this->Resize(3, 131, {{133, 27, 21}, {150, 7, 5}, {17, 1, 3}});
  std::vector<Dtype> expected;
  for (const bool rows : {false, true}) {
    if (rows) {
      shared_ptr<Blob<Dtype> > blob(new Blob<Dtype>(std::vector<int>{3 * 131, 3}));
      for (int row = 0; row < 3 * 131; ++row) {
        Dtype* values = blob->mutable_cpu_data() + 3 * row;
        values[0] = row / 131;
        std::copy_n(this->blobs_[0]->cpu_data() + 2 * row, 2, values + 1);
      }
      this->blobs_[0] = blob;
      this->bottom_vec_[0] = blob.get();
    }
    SparseHypercolumnLayer<Dtype> layer(this->layer_param_);
    layer.SetUp(this->bottom_vec_, this->top_vec_);
    layer.Forward(this->bottom_vec_, this->top_vec_);
    const Dtype* top = this->top_.cpu_data();
    std::memcpy(this->top_.mutable_cpu_diff(), top, this->top_.count() * sizeof(Dtype));
    layer.Backward(this->top_vec_, {false, true, true, true}, this->bottom_vec_);
    std::vector<Dtype> all(top, top + this->top_.count());
    for (int l = 1; l < 4; ++l) {
      const Blob<Dtype>& blob = *this->blobs_[l];
      all.insert(all.end(), blob.cpu_diff(), blob.cpu_diff() + blob.count());
    }
    if (!rows) expected = all;
    EXPECT_EQ(0, std::memcmp(expected.data(), all.data(), all.size() * sizeof(Dtype)));
  }
}

TYPED_TEST(SparseHypercolumnLayerTest, TestNearest) {
  typedef typename TypeParam::Dtype Dtype;
  this->Resize(1, 6, {{1, 2, 2}});
  LayerParameter param;
  param.mutable_sparse_hypercolumn_param()->set_nearest(true);
  const Dtype nan = std::numeric_limits<Dtype>::quiet_NaN();
  const Dtype locations[] = {0.49, 0.49, 0.5, 0.49, 0.49, 0.5, 1.4, -0.5, 90, -90, nan, 1};
  const Dtype map[] = {1, 2, 3, 4};
  const Dtype expected[] = {1, 3, 2, 3, 3, 2};
  std::memcpy(this->blobs_[0]->mutable_cpu_data(), locations, sizeof(locations));
  std::memcpy(this->blobs_[1]->mutable_cpu_data(), map, sizeof(map));
  SparseHypercolumnLayer<Dtype> layer(param);
  layer.SetUp(this->bottom_vec_, this->top_vec_);
  layer.Forward(this->bottom_vec_, this->top_vec_);
  for (int p = 0; p < 6; ++p) EXPECT_EQ(expected[p], this->top_.cpu_data()[p]) << p;
  caffe_set(6, Dtype(1), this->top_.mutable_cpu_diff());
  layer.Backward(this->top_vec_, {false, true}, this->bottom_vec_);
  const Dtype gradient[] = {1, 2, 3, 0};
  for (int i = 0; i < 4; ++i) EXPECT_EQ(gradient[i], this->blobs_[1]->cpu_diff()[i]) << i;
}

TYPED_TEST(SparseHypercolumnLayerTest, TestForwardAndReshape) {
  typedef typename TypeParam::Dtype Dtype;
  SparseHypercolumnLayer<Dtype> layer(this->layer_param_);
  layer.SetUp(this->bottom_vec_, this->top_vec_);
  EXPECT_EQ("10 6 (60)", this->top_.shape_string());
  this->CheckAgainstNaive(&layer);
  this->Resize(1, 40, {{19, 8, 8}, {1, 1, 5}, {2, 3, 1}});  // Forward reshapes
  this->CheckAgainstNaive(&layer);
  EXPECT_EQ("40 22 (880)", this->top_.shape_string());
}

TYPED_TEST(SparseHypercolumnLayerTest, TestGradient) {
  typedef typename TypeParam::Dtype Dtype;
  for (const bool rows : {false, true}) {
    if (rows) this->ToRows();
    SparseHypercolumnLayer<Dtype> layer(this->layer_param_);
    GradientChecker<Dtype> checker(1e-2, 1e-3);
    layer.SetUp(this->bottom_vec_, this->top_vec_);
    for (int bottom = 1; bottom < 4; ++bottom) {
      checker.CheckGradientExhaustive(&layer, this->bottom_vec_, this->top_vec_, bottom);
    }
  }
}

TYPED_TEST(SparseHypercolumnLayerTest, TestAdjoint) {
  typedef typename TypeParam::Dtype Dtype;
  SparseHypercolumnLayer<Dtype> layer(this->layer_param_);
  layer.SetUp(this->bottom_vec_, this->top_vec_);
  layer.Forward(this->bottom_vec_, this->top_vec_);
  Blob<Dtype> probe(this->top_.shape());
  GaussianFiller<Dtype>(FillerParameter()).Fill(&probe);
  std::memcpy(this->top_.mutable_cpu_diff(), probe.cpu_data(), probe.count() * sizeof(Dtype));
  layer.Backward(this->top_vec_, {false, true, true, true}, this->bottom_vec_);
  double forward = 0, backward = 0;
  for (int i = 0; i < probe.count(); ++i) forward += this->top_.cpu_data()[i] * probe.cpu_data()[i];
  for (int l = 1; l < 4; ++l) {
    const Blob<Dtype>& blob = *this->blobs_[l];
    for (int i = 0; i < blob.count(); ++i) backward += blob.cpu_data()[i] * blob.cpu_diff()[i];
  }
  EXPECT_NEAR(forward, backward, sizeof(Dtype) == 4 ? 1e-4 : 1e-12);
}

TYPED_TEST(SparseHypercolumnLayerTest, TestPropagateDown) {
  typedef typename TypeParam::Dtype Dtype;
  SparseHypercolumnLayer<Dtype> layer(this->layer_param_);
  layer.SetUp(this->bottom_vec_, this->top_vec_);
  layer.Forward(this->bottom_vec_, this->top_vec_);
  caffe_set(this->top_.count(), Dtype(1), this->top_.mutable_cpu_diff());
  for (int l = 1; l < 4; ++l) {
    caffe_set(this->blobs_[l]->count(), Dtype(-7), this->blobs_[l]->mutable_cpu_diff());
  }
  layer.Backward(this->top_vec_, {false, true, false, true}, this->bottom_vec_);
  EXPECT_EQ(-7, this->blobs_[2]->cpu_diff()[0]);
  // Every location gives its whole weight to the single cell of the last level.
  EXPECT_NEAR(5 * 2, this->blobs_[3]->cpu_diff()[0], 1e-5);
}

TYPED_TEST(SparseHypercolumnLayerTest, TestHostileLocations) {
  typedef typename TypeParam::Dtype Dtype;
  Dtype* at = this->blobs_[0]->mutable_cpu_data();
  at[0] = std::numeric_limits<Dtype>::quiet_NaN();
  at[1] = std::numeric_limits<Dtype>::infinity();
  at[2] = -std::numeric_limits<Dtype>::infinity();
  at[3] = std::numeric_limits<Dtype>::max();
  SparseHypercolumnLayer<Dtype> layer(this->layer_param_);
  layer.SetUp(this->bottom_vec_, this->top_vec_);
  layer.Forward(this->bottom_vec_, this->top_vec_);
  const Dtype corner = this->blobs_[1]->data_at(0, 0, 0, 6);  // row 0, last column
  EXPECT_EQ(corner / 2, this->top_.cpu_data()[0]);
  EXPECT_EQ(corner / 2, this->top_.cpu_data()[6]);
}

TYPED_TEST(SparseHypercolumnLayerTest, TestDeterministicBackward) {
  typedef typename TypeParam::Dtype Dtype;
  this->layer_param_.mutable_sparse_hypercolumn_param()->set_deterministic(true);  // for the GPU
  this->Resize(2, 300, {{33, 6, 7}, {17, 3, 4}, {5, 1, 1}});  // many locations share a cell
  SparseHypercolumnLayer<Dtype> layer(this->layer_param_);
  layer.SetUp(this->bottom_vec_, this->top_vec_);
  layer.Forward(this->bottom_vec_, this->top_vec_);
  FillerParameter filler;
  Blob<Dtype> gradient(this->top_.shape());
  GaussianFiller<Dtype>(filler).Fill(&gradient);
  std::memcpy(this->top_.mutable_cpu_diff(), gradient.cpu_data(), gradient.count() * sizeof(Dtype));
  std::vector<Dtype> first;
#ifdef _OPENMP
  const int threads = omp_get_max_threads();
#endif
  for (int count : {1, 2, 4, 7}) {
#ifdef _OPENMP
    omp_set_num_threads(count);
#else
    (void)count;
#endif
    layer.Backward(this->top_vec_, {false, true, true, true}, this->bottom_vec_);
    std::vector<Dtype> diffs;
    for (int l = 1; l < 4; ++l) {
      const Blob<Dtype>& blob = *this->blobs_[l];
      diffs.insert(diffs.end(), blob.cpu_diff(), blob.cpu_diff() + blob.count());
    }
    if (first.empty()) first = diffs;
    EXPECT_EQ(0, std::memcmp(first.data(), diffs.data(), diffs.size() * sizeof(Dtype)));
  }
#ifdef _OPENMP
  omp_set_num_threads(threads);
#endif
}

// Both ways of the CPU, for small maps and for others, on odd sizes and at addresses that no vector
// instruction likes, for any number of threads.
TYPED_TEST(SparseHypercolumnLayerTest, TestUnalignedOnThreads) {
  typedef typename TypeParam::Dtype Dtype;
  if (Caffe::mode() != Caffe::CPU) return;
  for (const bool rows : {false, true}) {
    this->Resize(3, 131, {{133, 27, 21}, {150, 7, 5}, {17, 1, 3}});
    if (rows) this->ToRows();
    std::vector<std::vector<Dtype> > memory;
    for (int l = 1; l < 4; ++l) {
      Blob<Dtype>* blob = this->blobs_[l].get();
      memory.emplace_back(blob->count() + 1);
      std::copy_n(blob->cpu_data(), blob->count(), memory.back().begin() + 1);
      blob->set_cpu_data(memory.back().data() + 1);
    }
#ifdef _OPENMP
    const int threads = omp_get_max_threads();
#endif
    std::vector<Dtype> columns, diffs;
    for (int count : {1, 2, 4}) {
#ifdef _OPENMP
      omp_set_num_threads(count);
#else
      (void)count;
#endif
      SparseHypercolumnLayer<Dtype> layer(this->layer_param_);
      layer.SetUp(this->bottom_vec_, this->top_vec_);
      layer.Forward(this->bottom_vec_, this->top_vec_);
      if (count == 1) this->CheckAgainstNaive(&layer);
      const Dtype* top = this->top_.cpu_data();
      std::vector<Dtype> now(top, top + this->top_.count());
      if (columns.empty()) columns = now;
      EXPECT_EQ(0, std::memcmp(columns.data(), now.data(), now.size() * sizeof(Dtype)));
      std::memcpy(this->top_.mutable_cpu_diff(), top, now.size() * sizeof(Dtype));
      layer.Backward(this->top_vec_, {false, true, true, true}, this->bottom_vec_);
      now.clear();
      double forward = 0, backward = 0;
      for (int i = 0; i < this->top_.count(); ++i) forward += double(top[i]) * top[i];
      for (int l = 1; l < 4; ++l) {
        const Blob<Dtype>& blob = *this->blobs_[l];
        now.insert(now.end(), blob.cpu_diff(), blob.cpu_diff() + blob.count());
        for (int i = 0; i < blob.count(); ++i) {
          backward += double(blob.cpu_diff()[i]) * blob.cpu_data()[i];
        }
      }
      if (diffs.empty()) diffs = now;
      EXPECT_EQ(0, std::memcmp(diffs.data(), now.data(), now.size() * sizeof(Dtype)));
      // <A x, A x> = <x, A' A x>, sums of 10^5 squares of order one.
      EXPECT_NEAR(forward, backward, forward * (sizeof(Dtype) == 4 ? 1e-5 : 1e-12));
    }
#ifdef _OPENMP
    omp_set_num_threads(threads);
#endif
  }
}

TYPED_TEST(SparseHypercolumnLayerTest, TestPaperSizes) {
  typedef typename TypeParam::Dtype Dtype;
  const int channels[] = {1,   64,  64,  128, 128, 256, 256,  256,
                          512, 512, 512, 512, 512, 512, 4096, 4096};
  const int scales[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32};
  std::vector<std::vector<int> > levels;
  LayerParameter param;
  for (int l = 0; l < 16; ++l) {
    levels.push_back({channels[l], 256 / scales[l], 256 / scales[l]});
    param.mutable_sparse_hypercolumn_param()->add_scale(scales[l]);
    param.mutable_sparse_hypercolumn_param()->add_offset_height((scales[l] - 1) / 2.f);
    param.mutable_sparse_hypercolumn_param()->add_offset_width((scales[l] - 1) / 2.f);
  }
  this->Resize(1, 128, levels);
  SparseHypercolumnLayer<Dtype> layer(param);
  layer.SetUp(this->bottom_vec_, this->top_vec_);
  layer.Forward(this->bottom_vec_, this->top_vec_);
  EXPECT_EQ(12417, this->top_.shape(1));
  caffe_set(this->top_.count(), Dtype(1), this->top_.mutable_cpu_diff());
  std::vector<bool> propagate_down(17, true);
  propagate_down[0] = false;
  layer.Backward(this->top_vec_, propagate_down, this->bottom_vec_);
  for (int l = 1; l <= 16; ++l) {  // each of the locations gives its weight of 1 to each channel
    EXPECT_NEAR(128. * channels[l - 1] / this->blobs_[l]->asum_diff(), 1, 1e-4);
  }
  if (sizeof(Dtype) == 4) {  // values and gradients take no more than the paper's 13 MB
    EXPECT_LT(2. * this->top_.count() * sizeof(Dtype), 13e6);
  }
}

template <typename Dtype>
class SparseHypercolumnLayerDeathTest : public CPUDeviceTest<Dtype> {};
TYPED_TEST_CASE(SparseHypercolumnLayerDeathTest, TestDtypes);

template <typename Dtype>
void SetUpWith(const LayerParameter& param, const std::vector<int>& locations,
               const std::vector<int>& features) {
  Blob<Dtype> location_blob(locations), feature_blob(features), top;
  SparseHypercolumnLayer<Dtype> layer(param);
  layer.SetUp({&location_blob, &feature_blob}, {&top});
}

TYPED_TEST(SparseHypercolumnLayerDeathTest, TestMessages) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  LayerParameter good;
  good.set_name("columns");
  LayerParameter counts = good, negative = good, infinite = good;
  counts.mutable_sparse_hypercolumn_param()->add_scale(1);
  counts.mutable_sparse_hypercolumn_param()->add_scale(1);
  negative.mutable_sparse_hypercolumn_param()->add_scale(-2);
  infinite.mutable_sparse_hypercolumn_param()->add_offset_width(INFINITY);
  const std::vector<int> locations{2, 5, 2}, features{2, 3, 4, 4};
  EXPECT_DEATH(SetUpWith<TypeParam>(counts, locations, features),
               "layer columns: scale expected 0, 1 or 1 values.*got 2");
  EXPECT_DEATH(SetUpWith<TypeParam>(negative, locations, features),
               "layer columns: scale expected a positive number, got -2");
  EXPECT_DEATH(SetUpWith<TypeParam>(infinite, locations, features),
               "layer columns: offset_width expected a finite number, got inf");
  EXPECT_DEATH(SetUpWith<TypeParam>(good, {2, 5, 3}, features),
               "layer columns: locations expected shape \\(N, P, 2\\) or \\(M, 3\\), got 2 5 3");
  EXPECT_DEATH(SetUpWith<TypeParam>(good, {10, 2}, features), "layer columns: locations expected");
  EXPECT_DEATH(SetUpWith<TypeParam>(good, {0, 3}, features),
               "layer columns: locations expected at least one row, got 0 3");
  EXPECT_DEATH(SetUpWith<TypeParam>(good, {3, 5, 2}, features), "layer columns: .*batch size");
  EXPECT_DEATH(SetUpWith<TypeParam>(good, locations, {2, 3, 4}),
               "layer columns: feature bottom 1 expected a \\(N, C, H, W\\)");
}

TYPED_TEST(SparseHypercolumnLayerDeathTest, TestImagesOfRows) {
  typedef TypeParam Dtype;
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  LayerParameter param;
  param.set_name("columns");
  Blob<Dtype> rows(std::vector<int>{4, 3}), features(2, 3, 4, 4), top;
  SparseHypercolumnLayer<Dtype> layer(param);
  layer.SetUp({&rows, &features}, {&top});
  layer.Forward({&rows, &features}, {&top});
  const Dtype bad[] = {-1,
                       2,
                       Dtype(0.5),
                       std::numeric_limits<Dtype>::quiet_NaN(),
                       std::numeric_limits<Dtype>::infinity(),
                       Dtype(1e30)};
  const char* got[] = {"-1", "2", "0.5", "-?nan", "inf", "1e.30"};
  for (int i = 0; i < 6; ++i) {
    rows.mutable_cpu_data()[9] = bad[i];
    EXPECT_DEATH(layer.Forward({&rows, &features}, {&top}),
                 std::string("layer columns: row 3 of the locations expected an image from 0 to 1, "
                             "a whole number, got ") +
                     got[i]);
  }
}

}  // namespace caffe
