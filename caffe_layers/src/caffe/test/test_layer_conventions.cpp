// What holds for every layer of ours: a layer that was reshaped is as good as a new one, a batch of
// one and maps of one pixel are ordinary input, an empty propagate_down asks for nothing, and the
// GPU computes what the CPU computes.

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/filler.hpp"
#include "caffe/layer_factory.hpp"
#include "caffe/test/test_caffe_main.hpp"

namespace caffe {

const std::vector<std::string> kTypes = {// in order
                                         "ColorHistogram",          "ColorSpace",
                                         "HypercolumnInnerProduct", "HypercolumnTap",
                                         "InnerProductWeights",     "SoftmaxKLDivergenceLoss",
                                         "SparseHypercolumn"};

LayerParameter ExampleParameter(const std::string& type) {
  LayerParameter param;
  param.set_type(type);
  param.set_name("example");
  if (type == "SparseHypercolumn") {
    for (float scale : {1.f, 2.f}) {
      param.mutable_sparse_hypercolumn_param()->add_scale(scale);
      param.mutable_sparse_hypercolumn_param()->add_offset_height((scale - 1) / 2);
      param.mutable_sparse_hypercolumn_param()->add_offset_width((scale - 1) / 2);
    }
  } else if (type == "HypercolumnInnerProduct") {
    HypercolumnInnerProductParameter* product = param.mutable_hypercolumn_inner_product_param();
    for (float scale : {1.f, 2.f}) {
      product->add_scale(scale);
      product->add_offset_height((scale - 1) / 2);
      product->add_offset_width((scale - 1) / 2);
    }
    product->set_num_output(5);
    product->set_stride(2);
    product->mutable_weight_filler()->set_type("gaussian");
    product->mutable_bias_filler()->set_type("gaussian");
  } else if (type == "HypercolumnTap") {
    param.mutable_sparse_hypercolumn_param()->set_first_channel(2);
    param.mutable_sparse_hypercolumn_param()->add_scale(2);
    param.mutable_sparse_hypercolumn_param()->add_offset_height(0.5);
    param.mutable_sparse_hypercolumn_param()->add_offset_width(0.5);
  } else if (type == "InnerProductWeights") {
    InnerProductWeightsParameter* weights = param.mutable_inner_product_weights_param();
    weights->set_num_output(3);
    weights->set_num_input(4);
    weights->mutable_weight_filler()->set_type("gaussian");
    weights->mutable_bias_filler()->set_type("gaussian");
  } else if (type == "ColorHistogram") {
    param.mutable_color_histogram_param()->set_bins(4);
    param.mutable_color_histogram_param()->set_joint(true);
    param.mutable_color_histogram_param()->set_region(3);
  }
  return param;
}

// Blobs of a layer for images of one size.
template <typename Dtype>
class Example {
 public:
  // With `rows`, locations are (image, y, x) in no order; other layers have none.
  Example(const std::string& type, int images, int side, bool rows = false) : rows_(rows) {
    const int locations = 6, half = (side + 1) / 2, count = images * locations, bins = 7;
    if (type == "SparseHypercolumn") {
      AddLocations(images, locations, side);
      Add({images, 3, side, side}, -1, 1);
      Add({images, 18, half, half}, -1, 1);
    } else if (type == "HypercolumnInnerProduct") {
      Add({images, 3, side, side}, -1, 1);
      Add({images, 18, half, half}, -1, 1);
    } else if (type == "HypercolumnTap") {
      Add({count, 2 + 18}, -1, 1);
      Add({images, 18, half, half}, -1, 1);
      AddLocations(images, locations, side);
    } else if (type == "ColorSpace") {
      Add({images, 3, side, side}, 0, 1);
    } else if (type == "ColorHistogram") {
      Add({images, 2, side, side}, 0, 1);
      AddLocations(images, locations, side);
    } else if (type == "SoftmaxKLDivergenceLoss") {
      Add({count, bins}, -2, 2);
      Add({count, bins}, 0, 1);
      Add({count}, 0, 1);
      for (int m = 0; m < count; ++m) {  // histograms, some of them empty
        Dtype* row = bottoms_[1]->mutable_cpu_data() + m * bins;
        Dtype sum = 0;
        for (int k = 0; k < bins; ++k) sum += row[k];
        for (int k = 0; k < bins; ++k) row[k] = m % 5 == 4 ? 0 : row[k] / sum;
      }
    }
    if (type == "HypercolumnTap") {
      top.push_back(bottom[0]);  // in place
    } else {
      for (int i = 0; i < (type == "ColorSpace" || type == "InnerProductWeights" ? 2 : 1); ++i) {
        tops_.emplace_back(new Blob<Dtype>());
        top.push_back(tops_.back().get());
      }
    }
    // The others are locations, or data without a gradient.
    for (size_t i = 0; i < bottom.size(); ++i) {
      propagate_down.push_back(
          type == "HypercolumnInnerProduct" || (type == "HypercolumnTap" && i < 2) ||
          (type == "SparseHypercolumn" && i > 0) || (type == "SoftmaxKLDivergenceLoss" && i == 0));
    }
  }

  void FillTopDiff() {
    for (Blob<Dtype>* blob : top) {
      Blob<Dtype> probe(blob->shape());
      GaussianFiller<Dtype>(FillerParameter()).Fill(&probe);
      caffe_copy(probe.count(), probe.cpu_data(), blob->mutable_cpu_diff());
    }
  }

  std::vector<Blob<Dtype>*> bottom, top;
  std::vector<bool> propagate_down;

 private:
  void Add(const std::vector<int>& shape, double min, double max) {
    bottoms_.emplace_back(new Blob<Dtype>(shape));
    FillerParameter range;
    range.set_min(min);
    range.set_max(max);
    UniformFiller<Dtype>(range).Fill(bottoms_.back().get());
    bottom.push_back(bottoms_.back().get());
  }
  void AddLocations(int images, int locations, int side) {
    if (!rows_) {
      Add({images, locations, 2}, -2, side + 1);
      return;
    }
    Add({images * locations, 3}, -2, side + 1);
    for (int row = 0; row < images * locations; ++row) {
      bottoms_.back()->mutable_cpu_data()[3 * row] = row * row % 7 % images;
    }
  }
  std::vector<shared_ptr<Blob<Dtype> > > bottoms_, tops_;
  bool rows_;
};

template <typename Dtype>
void ExpectEqual(const Blob<Dtype>& expected, const Blob<Dtype>& blob, bool diff,
                 double tolerance) {
  ASSERT_EQ(expected.shape(), blob.shape());
  const Dtype* a = diff ? expected.cpu_diff() : expected.cpu_data();
  const Dtype* b = diff ? blob.cpu_diff() : blob.cpu_data();
  for (int i = 0; i < blob.count(); ++i) ASSERT_NEAR(a[i], b[i], tolerance) << "at " << i;
}

template <typename TypeParam>
class LayerConventionsTest : public MultiDeviceTest<TypeParam> {};
TYPED_TEST_CASE(LayerConventionsTest, TestDtypesAndDevices);

#ifdef AUTOCOLOR_TESTS  // elsewhere all of Caffe's layers are registered, and the user's
TYPED_TEST(LayerConventionsTest, TestTypesAreAllOfOurs) {
  typedef typename TypeParam::Dtype Dtype;
  std::vector<std::string> types = LayerRegistry<Dtype>::LayerTypeList();
  types.erase(std::remove(types.begin(), types.end(), "InnerProduct"), types.end());  // Caffe's
  EXPECT_EQ(kTypes, types);
}
#endif

TYPED_TEST(LayerConventionsTest, TestReshapedEqualsNew) {
  typedef typename TypeParam::Dtype Dtype;
  Caffe::set_random_seed(1701);
  for (const std::string& type : kTypes) {
    SCOPED_TRACE(type);
    Example<Dtype> first(type, 2, 7);
    shared_ptr<Layer<Dtype> > layer = LayerRegistry<Dtype>::CreateLayer(ExampleParameter(type));
    layer->SetUp(first.bottom, first.top);
    layer->Forward(first.bottom, first.top);
    // Images, side, whether locations are rows (image, y, x).
    const int sizes[][3] = {{1, 1, 0}, {5, 13, 0}, {1, 2, 1}, {5, 13, 1}, {2, 7, 0}};
    for (const auto& size : sizes) {
      Example<Dtype> example(type, size[0], size[1], size[2] == 1);
      layer->Forward(example.bottom, example.top);  // reshapes
      std::vector<shared_ptr<Blob<Dtype> > > outputs;
      for (Blob<Dtype>* blob : example.top) {
        outputs.emplace_back(new Blob<Dtype>());
        outputs.back()->CopyFrom(*blob, false, true);
      }
      shared_ptr<Layer<Dtype> > fresh = LayerRegistry<Dtype>::CreateLayer(ExampleParameter(type));
      fresh->SetUp(example.bottom, example.top);
      for (size_t i = 0; i < layer->blobs().size(); ++i) {
        fresh->blobs()[i]->CopyFrom(*layer->blobs()[i]);
      }
      fresh->Forward(example.bottom, example.top);
      for (size_t i = 0; i < outputs.size(); ++i) {
        ExpectEqual(*outputs[i], *example.top[i], false, 0);
      }
    }
  }
}

TYPED_TEST(LayerConventionsTest, TestEmptyPropagateDown) {
  typedef typename TypeParam::Dtype Dtype;
  Caffe::set_random_seed(1701);
  for (const std::string& type : kTypes) {
    SCOPED_TRACE(type);
    for (const bool rows : {false, true}) {
      Example<Dtype> example(type, 2, 7, rows);
      shared_ptr<Layer<Dtype> > layer = LayerRegistry<Dtype>::CreateLayer(ExampleParameter(type));
      layer->SetUp(example.bottom, example.top);
      layer->Forward(example.bottom, example.top);
      example.FillTopDiff();
      for (Blob<Dtype>* blob : example.bottom) {
        caffe_set(blob->count(), Dtype(-7), blob->mutable_cpu_diff());
      }
      for (const size_t size : {size_t(0), example.bottom.size()}) {
        layer->Backward(example.top, std::vector<bool>(size, false), example.bottom);
      }
      for (const Blob<Dtype>* blob : example.bottom) {
        EXPECT_EQ(-7, blob->cpu_diff()[0]);
        EXPECT_EQ(-7, blob->cpu_diff()[blob->count() - 1]);
      }
    }
  }
}

#ifndef CPU_ONLY
template <typename Dtype>
class LayerGPUTest : public GPUDeviceTest<Dtype> {};
TYPED_TEST_CASE(LayerGPUTest, TestDtypes);

TYPED_TEST(LayerGPUTest, TestGPUEqualsCPU) {
  typedef TypeParam Dtype;
  // Sums of some hundred products of order one, in another order.
  const double tolerance = sizeof(Dtype) == 4 ? 1e-4 : 1e-11;
  Caffe::set_random_seed(1701);
  for (const std::string& type : kTypes) {
    for (const int form : {0, 1, 2, 3}) {
      const bool deterministic = form % 2 == 1, rows = form / 2 == 1;
      SCOPED_TRACE(type + (rows ? " at rows (image, y, x)" : ""));
      LayerParameter param = ExampleParameter(type);
      if (type == "SparseHypercolumn" || type == "HypercolumnTap") {
        param.mutable_sparse_hypercolumn_param()->set_deterministic(deterministic);
      }
      Example<Dtype> example(type, 3, 11, rows);
      shared_ptr<Layer<Dtype> > layer = LayerRegistry<Dtype>::CreateLayer(param);
      layer->SetUp(example.bottom, example.top);
      example.FillTopDiff();
      std::vector<shared_ptr<Blob<Dtype> > > outputs, gradients, weights;
      for (const Caffe::Brew mode : {Caffe::CPU, Caffe::GPU}) {
        Caffe::set_mode(mode);
        for (auto& blob : layer->blobs()) {
          caffe_set(blob->count(), Dtype(0), blob->mutable_cpu_diff());
        }
        layer->Forward(example.bottom, example.top);
        layer->Backward(example.top, example.propagate_down, example.bottom);
        if (mode == Caffe::CPU) {
          for (Blob<Dtype>* blob : example.top) {
            outputs.emplace_back(new Blob<Dtype>());
            outputs.back()->CopyFrom(*blob, false, true);
          }
          for (Blob<Dtype>* blob : example.bottom) {
            gradients.emplace_back(new Blob<Dtype>());
            gradients.back()->CopyFrom(*blob, true, true);
          }
          for (auto& blob : layer->blobs()) {
            weights.emplace_back(new Blob<Dtype>());
            weights.back()->CopyFrom(*blob, true, true);
          }
        }
      }
      for (size_t i = 0; i < outputs.size(); ++i) {
        ExpectEqual(*outputs[i], *example.top[i], false, tolerance);
      }
      for (size_t i = 0; i < gradients.size(); ++i) {
        if (example.propagate_down[i]) {
          ExpectEqual(*gradients[i], *example.bottom[i], true, tolerance);
        }
      }
      for (size_t i = 0; i < weights.size(); ++i) {
        ExpectEqual(*weights[i], *layer->blobs()[i], true, tolerance);
      }
    }
  }
}
#endif

}  // namespace caffe
