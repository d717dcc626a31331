#include <algorithm>
#include <cstring>
#include <vector>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "gtest/gtest.h"

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/filler.hpp"
#include "caffe/layers/hypercolumn_inner_product_forward.hpp"
#include "caffe/layers/hypercolumn_inner_product_layer.hpp"
#include "caffe/layers/inner_product_layer.hpp"
#include "caffe/layers/inner_product_weights_layer.hpp"
#include "caffe/layers/sparse_hypercolumn_layer.hpp"
#include "caffe/test/test_caffe_main.hpp"
#include "caffe/test/test_gradient_check_util.hpp"
#include "caffe/util/parallel_for.hpp"
#include "caffe/util/strided_gemm.hpp"

namespace caffe {

// The bands of the GPU, value by value, on the CPU.
struct BandsOnCPU : OnCPU {
  template <typename Dtype>
  static void Gemm(bool, bool, int m, int n, int k, Dtype alpha, const Dtype* a, int lda,
                   const Dtype* b, int ldb, Dtype beta, Dtype* c, int ldc) {
    StridedGemm(CblasNoTrans, CblasNoTrans, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  }
  template <typename Dtype>
  static void Upsample(const BilinearGrid& grid, int maps, const Dtype* in, Dtype* out,
                       bool accumulate = false) {
    Run(static_cast<int64_t>(maps) * grid.output_height * grid.output_width,
        UpsampleValue<Dtype>{grid, in, out, accumulate});
  }
};

template <typename Dtype>
class BandedLayer : public HypercolumnInnerProductLayer<Dtype> {
 public:
  BandedLayer(const LayerParameter& param, int64_t band_values)
      : HypercolumnInnerProductLayer<Dtype>(param), band_values_(band_values) {}
  const Blob<Dtype>& hidden() const { return this->hidden_; }

 protected:
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) {
    this->template ForwardOn<BandsOnCPU>(bottom, top, band_values_);
  }
  int64_t band_values_;
};

template <typename TypeParam>
class HypercolumnInnerProductLayerTest : public MultiDeviceTest<TypeParam> {
  typedef typename TypeParam::Dtype Dtype;

 protected:
  HypercolumnInnerProductLayerTest() {
    Caffe::set_random_seed(1701);
    layer_param_.set_name("dense");
    HypercolumnInnerProductParameter* param =
        layer_param_.mutable_hypercolumn_inner_product_param();
    param->set_num_output(3);
    param->set_stride(2);
    param->mutable_weight_filler()->set_type("gaussian");
    param->mutable_bias_filler()->set_type("gaussian");
    for (float scale : {1.f, 2.f, 4.f, 8.f}) {
      param->add_scale(scale);
      param->add_offset_height((scale - 1) / 2);
      param->add_offset_width((scale - 1) / 2 + 0.125f);
      param->add_activation_mult(1 + scale / 4);
    }
    Resize(2, 9, 7);
    top_vec_.push_back(&top_);
  }

  void Resize(int images, int height, int width) {
    blobs_.clear();
    bottom_vec_.clear();
    const int channels[] = {1, 2, 4, 3};
    for (int l = 0; l < 4; ++l) {
      const int scale = 1 << l;
      blobs_.emplace_back(new Blob<Dtype>(images, channels[l], (height + scale - 1) / scale,
                                          (width + scale - 1) / scale));
      GaussianFiller<Dtype>(FillerParameter()).Fill(blobs_.back().get());
      bottom_vec_.push_back(blobs_.back().get());
    }
  }

  // The same by SparseHypercolumn and InnerProduct at every position of the grid.
  void CheckAgainstSparse(HypercolumnInnerProductLayer<Dtype>* layer, int stride) {
    layer->Forward(bottom_vec_, top_vec_);
    const int images = top_.shape(0), height = top_.shape(2), width = top_.shape(3);
    Blob<Dtype> locations(std::vector<int>{images, height * width, 2}), columns, expected;
    for (int i = 0; i < locations.count() / 2; ++i) {
      const int cell = i % (height * width);
      locations.mutable_cpu_data()[2 * i] = cell / width * stride + (stride - 1) / Dtype(2);
      locations.mutable_cpu_data()[2 * i + 1] = cell % width * stride + (stride - 1) / Dtype(2);
    }
    LayerParameter sparse_param, product_param;
    const HypercolumnInnerProductParameter& param = layer_param_.hypercolumn_inner_product_param();
    SparseHypercolumnParameter* geometry = sparse_param.mutable_sparse_hypercolumn_param();
    *geometry->mutable_scale() = param.scale();
    *geometry->mutable_offset_height() = param.offset_height();
    *geometry->mutable_offset_width() = param.offset_width();
    *geometry->mutable_activation_mult() = param.activation_mult();
    SparseHypercolumnLayer<Dtype> sparse(sparse_param);
    std::vector<Blob<Dtype>*> sparse_bottom{&locations}, columns_vec{&columns},
        expected_vec{&expected};
    sparse_bottom.insert(sparse_bottom.end(), bottom_vec_.begin(), bottom_vec_.end());
    sparse.SetUp(sparse_bottom, columns_vec);
    sparse.Forward(sparse_bottom, columns_vec);
    product_param.mutable_inner_product_param()->set_num_output(param.num_output());
    InnerProductLayer<Dtype> product(product_param);
    product.SetUp(columns_vec, expected_vec);
    for (int i = 0; i < 2; ++i) {
      ASSERT_EQ(product.blobs()[i]->shape(), layer->blobs()[i]->shape());
      product.blobs()[i]->CopyFrom(*layer->blobs()[i]);
    }
    product.Forward(columns_vec, expected_vec);
    for (int n = 0; n < images; ++n) {
      for (int o = 0; o < top_.shape(1); ++o) {
        for (int i = 0; i < height * width; ++i) {
          // Ten products of order one, summed in another order.
          EXPECT_NEAR(expected.data_at(std::vector<int>{n * height * width + i, o}),
                      top_.cpu_data()[(n * top_.shape(1) + o) * height * width + i],
                      sizeof(Dtype) == 4 ? 1e-4 : 1e-12);
        }
      }
    }
  }

  LayerParameter layer_param_;
  std::vector<shared_ptr<Blob<Dtype> > > blobs_;
  Blob<Dtype> top_;
  std::vector<Blob<Dtype>*> bottom_vec_, top_vec_;
};

TYPED_TEST_CASE(HypercolumnInnerProductLayerTest, TestDtypesAndDevices);

TYPED_TEST(HypercolumnInnerProductLayerTest, TestLiteral) {
  typedef typename TypeParam::Dtype Dtype;
  LayerParameter param;
  param.mutable_hypercolumn_inner_product_param()->set_num_output(1);
  param.mutable_hypercolumn_inner_product_param()->add_scale(1);
  param.mutable_hypercolumn_inner_product_param()->add_scale(2);
  param.mutable_hypercolumn_inner_product_param()->add_offset_width(0);
  param.mutable_hypercolumn_inner_product_param()->add_offset_width(0.5);
  Blob<Dtype> fine(1, 1, 1, 4), coarse(1, 1, 1, 2), top;
  const Dtype fine_values[] = {1, 2, 3, 4}, coarse_values[] = {0, 8};
  std::memcpy(fine.mutable_cpu_data(), fine_values, sizeof(fine_values));
  std::memcpy(coarse.mutable_cpu_data(), coarse_values, sizeof(coarse_values));
  HypercolumnInnerProductLayer<Dtype> layer(param);
  layer.SetUp({&fine, &coarse}, {&top});
  layer.blobs()[0]->mutable_cpu_data()[0] = 10;
  layer.blobs()[0]->mutable_cpu_data()[1] = 1;
  layer.blobs()[1]->mutable_cpu_data()[0] = 100;
  layer.Forward({&fine, &coarse}, {&top});
  const Dtype expected[] = {110, 122, 136, 148};  // 100 + 10 * fine + {0, 2, 6, 8}
  for (int i = 0; i < 4; ++i) EXPECT_EQ(expected[i], top.cpu_data()[i]);
}

TYPED_TEST(HypercolumnInnerProductLayerTest, TestEqualsSparseAndReshape) {
  typedef typename TypeParam::Dtype Dtype;
  for (int stride : {1, 2, 3, 4}) {
    this->layer_param_.mutable_hypercolumn_inner_product_param()->set_stride(stride);
    HypercolumnInnerProductLayer<Dtype> layer(this->layer_param_);
    this->Resize(2, 9, 7);
    layer.SetUp(this->bottom_vec_, this->top_vec_);
    EXPECT_EQ((9 + stride - 1) / stride, this->top_.shape(2));
    EXPECT_EQ((7 + stride - 1) / stride, this->top_.shape(3));
    this->CheckAgainstSparse(&layer, stride);
    this->Resize(1, 33, 40);
    this->CheckAgainstSparse(&layer, stride);
    this->Resize(1, 1, 1);
    this->CheckAgainstSparse(&layer, stride);
  }
}

// Two heads against the same layer without them, ReLU and InnerProduct, written out.
TYPED_TEST(HypercolumnInnerProductLayerTest, TestHeads) {
  typedef typename TypeParam::Dtype Dtype;
#ifdef _OPENMP
  const int threads = omp_get_max_threads();
#endif
  for (int count : {1, 2, 4}) {
#ifdef _OPENMP
    omp_set_num_threads(count);
#endif
    HypercolumnInnerProductLayer<Dtype> plain(this->layer_param_);
    plain.SetUp(this->bottom_vec_, this->top_vec_);
    plain.Forward(this->bottom_vec_, this->top_vec_);
    LayerParameter param(this->layer_param_);
    param.mutable_hypercolumn_inner_product_param()->set_heads(2);
    Blob<Dtype> tops[2];
    std::vector<Blob<Dtype>*> bottom = this->bottom_vec_, top{&tops[0], &tops[1]};
    std::vector<shared_ptr<Blob<Dtype> > > weights;
    for (int outputs : {4, 2}) {
      LayerParameter holder_param;
      InnerProductWeightsParameter* holder = holder_param.mutable_inner_product_weights_param();
      holder->set_num_output(outputs);
      holder->set_num_input(3);
      holder->mutable_weight_filler()->set_type("gaussian");
      holder->mutable_bias_filler()->set_type("gaussian");
      InnerProductWeightsLayer<Dtype> layer(holder_param);
      std::vector<Blob<Dtype>*> holder_tops;
      for (int i = 0; i < 2; ++i) {
        weights.emplace_back(new Blob<Dtype>());
        holder_tops.push_back(weights.back().get());
        bottom.push_back(weights.back().get());
      }
      layer.SetUp({}, holder_tops);
      layer.Forward({}, holder_tops);
      EXPECT_EQ(layer.blobs()[0]->cpu_data(), holder_tops[0]->cpu_data());  // no copy
    }
    HypercolumnInnerProductLayer<Dtype> fused(param);
    fused.blobs() = plain.blobs();
    fused.SetUp(bottom, top);
    fused.Forward(bottom, top);
    const Blob<Dtype>& hidden = this->top_;
    const int plane = hidden.count(2);
    for (int h = 0; h < 2; ++h) {
      ASSERT_EQ(weights[2 * h]->shape(0), tops[h].shape(1));
      ASSERT_EQ(hidden.shape(2), tops[h].shape(2));
      ASSERT_EQ(hidden.shape(3), tops[h].shape(3));
      for (int i = 0; i < tops[h].count(); ++i) {
        const int n = i / tops[h].count(1), k = i / plane % tops[h].shape(1);
        double expected = weights[2 * h + 1]->cpu_data()[k];
        for (int o = 0; o < 3; ++o) {
          const double value = hidden.cpu_data()[(n * 3 + o) * plane + i % plane];
          expected += std::max(value, 0.0) * weights[2 * h]->cpu_data()[k * 3 + o];
        }
        // Three products of values of the order of ten.
        EXPECT_NEAR(expected, tops[h].cpu_data()[i], sizeof(Dtype) == 4 ? 1e-4 : 1e-12);
      }
    }
  }
#ifdef _OPENMP
  omp_set_num_threads(threads);
#endif
}

// The GPU's bands, of any number of rows, against BandForward.
TYPED_TEST(HypercolumnInnerProductLayerTest, TestBandsOfTheGPU) {
  typedef typename TypeParam::Dtype Dtype;
  if (Caffe::mode() != Caffe::CPU) return;
  const double tolerance = sizeof(Dtype) == 4 ? 1e-4 : 1e-11;  // sums of order ten, other orders
  for (const int outputs : {3, 40}) {  // few are projected first, many sampled
    for (const int stride : {1, 2, 3}) {
      HypercolumnInnerProductParameter* param =
          this->layer_param_.mutable_hypercolumn_inner_product_param();
      param->set_num_output(outputs);
      param->set_stride(stride);
      param->set_heads(0);
      this->Resize(2, 41, 18);
      HypercolumnInnerProductLayer<Dtype> plain(this->layer_param_);
      plain.SetUp(this->bottom_vec_, this->top_vec_);
      plain.Forward(this->bottom_vec_, this->top_vec_);
      Blob<Dtype> whole;
      BandedLayer<Dtype> one_band(this->layer_param_, 1);
      one_band.blobs() = plain.blobs();
      one_band.SetUp(this->bottom_vec_, {&whole});
      one_band.Forward(this->bottom_vec_, {&whole});
      ASSERT_EQ(this->top_.shape(), whole.shape());
      for (int i = 0; i < whole.count(); ++i) {
        ASSERT_NEAR(this->top_.cpu_data()[i], whole.cpu_data()[i], tolerance) << i;
      }

      param->set_heads(2);
      Blob<Dtype> weights[] = {Blob<Dtype>(std::vector<int>{4, outputs}),
                               Blob<Dtype>(std::vector<int>{1, outputs})},
                  biases[] = {Blob<Dtype>(std::vector<int>{4}), Blob<Dtype>(std::vector<int>{1})};
      std::vector<Blob<Dtype>*> bottom = this->bottom_vec_;
      for (int h = 0; h < 2; ++h) {
        GaussianFiller<Dtype>(FillerParameter()).Fill(&weights[h]);
        GaussianFiller<Dtype>(FillerParameter()).Fill(&biases[h]);
        bottom.insert(bottom.end(), {&weights[h], &biases[h]});
      }
      Blob<Dtype> expected[2], tops[2];
      HypercolumnInnerProductLayer<Dtype> fused(this->layer_param_);
      fused.blobs() = plain.blobs();
      fused.SetUp(bottom, {&expected[0], &expected[1]});
      fused.Forward(bottom, {&expected[0], &expected[1]});
      const int row = outputs * this->top_.shape(3), height = this->top_.shape(2);
      for (const int rows : {0, 1, 2, 5, height - 1, height, 999}) {  // 0: less than one
        BandedLayer<Dtype> banded(this->layer_param_, rows == 0 ? row - 1 : row * rows + row / 2);
        banded.blobs() = plain.blobs();
        banded.SetUp(bottom, {&tops[0], &tops[1]});
        banded.Forward(bottom, {&tops[0], &tops[1]});
        EXPECT_EQ(row * std::min(std::max(rows, 1), height), banded.hidden().count());
        for (int h = 0; h < 2; ++h) {
          ASSERT_EQ(expected[h].shape(), tops[h].shape());
          for (int i = 0; i < tops[h].count(); ++i) {
            ASSERT_NEAR(expected[h].cpu_data()[i], tops[h].cpu_data()[i], 10 * tolerance)
                << "head " << h << " at " << i << " in bands of " << rows;
          }
        }
      }
    }
  }
}

TYPED_TEST(HypercolumnInnerProductLayerTest, TestRejectsHeads) {
  typedef typename TypeParam::Dtype Dtype;
  if (Caffe::mode() != Caffe::CPU) return;  // a death test forks, which CUDA does not survive
  LayerParameter param(this->layer_param_);
  param.mutable_hypercolumn_inner_product_param()->set_heads(1);
  Blob<Dtype> weight(std::vector<int>{4, 3}), wide(std::vector<int>{4, 5}),
      bias(std::vector<int>{4});
  std::vector<Blob<Dtype>*> bottom = this->bottom_vec_;
  bottom.insert(bottom.end(), {&wide, &bias});
  HypercolumnInnerProductLayer<Dtype> layer(param);
  EXPECT_DEATH(layer.SetUp(bottom, this->top_vec_),
               "layer dense: the weight of head 0 expected shape .K, 3., got 4 5");
  bottom[4] = &weight;
  bottom[5] = &weight;
  EXPECT_DEATH(layer.SetUp(bottom, this->top_vec_),
               "layer dense: the bias of head 0 expected shape .4., got 4 3");
  EXPECT_DEATH(layer.SetUp({&weight, &bias}, this->top_vec_),
               "layer dense: expected at least 3 bottoms, got 2");
  bottom[5] = &bias;
  layer.SetUp(bottom, this->top_vec_);
  EXPECT_DEATH(layer.Backward(this->top_vec_, std::vector<bool>(6, true), bottom),
               "layer dense: a gradient expected heads of 0, got 1");
}

TYPED_TEST(HypercolumnInnerProductLayerTest, TestGradient) {
  typedef typename TypeParam::Dtype Dtype;
  for (int outputs : {1, 12}) {  // few outputs project first everywhere, many sample first
    this->layer_param_.mutable_hypercolumn_inner_product_param()->set_num_output(outputs);
    this->Resize(1, 5, 4);
    HypercolumnInnerProductLayer<Dtype> layer(this->layer_param_);
    GradientChecker<Dtype> checker(1e-2, 2e-3);
    checker.CheckGradientExhaustive(&layer, this->bottom_vec_, this->top_vec_);
  }
}

TYPED_TEST(HypercolumnInnerProductLayerTest, TestPropagateDown) {
  typedef typename TypeParam::Dtype Dtype;
  HypercolumnInnerProductLayer<Dtype> layer(this->layer_param_);
  layer.SetUp(this->bottom_vec_, this->top_vec_);
  layer.Forward(this->bottom_vec_, this->top_vec_);
  caffe_set(this->top_.count(), Dtype(1), this->top_.mutable_cpu_diff());
  caffe_set(this->blobs_[1]->count(), Dtype(-7), this->blobs_[1]->mutable_cpu_diff());
  caffe_set(this->blobs_[2]->count(), Dtype(-7), this->blobs_[2]->mutable_cpu_diff());
  layer.blobs()[0]->scale_diff(0);
  layer.set_param_propagate_down(0, false);
  layer.Backward(this->top_vec_, {true, false, true, true}, this->bottom_vec_);
  EXPECT_EQ(-7, this->blobs_[1]->cpu_diff()[0]);
  EXPECT_NE(-7, this->blobs_[2]->cpu_diff()[0]);
  EXPECT_EQ(0, layer.blobs()[0]->asum_diff());
}

TEST(HypercolumnInnerProductLayerDeathTest, TestMessages) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  Blob<float> features(1, 2, 3, 4), top;
  LayerParameter param;
  param.set_name("dense");
  EXPECT_DEATH(HypercolumnInnerProductLayer<float>(param).SetUp({&features}, {&top}),
               "layer dense: num_output expected a positive number, got 0");
  param.mutable_hypercolumn_inner_product_param()->set_num_output(2);
  param.mutable_hypercolumn_inner_product_param()->set_stride(0);
  EXPECT_DEATH(HypercolumnInnerProductLayer<float>(param).SetUp({&features}, {&top}),
               "layer dense: stride expected a positive number, got 0");
}

}  // namespace caffe
