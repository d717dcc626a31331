#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/filler.hpp"
#include "caffe/layers/conv_layer.hpp"
#include "caffe/test/test_caffe_main.hpp"
#include "caffe/test/test_gradient_check_util.hpp"
#include "caffe/util/math_functions.hpp"
#include "onednn/onednn_convolution_layer.hpp"

namespace caffe {

namespace {

struct Shape {
  int images, channels, height, width, outputs, kernel, pad, stride, group, dilation;
};

LayerParameter Parameter(const Shape& shape, Phase phase) {
  LayerParameter param;
  param.set_name("conv");
  param.set_phase(phase);
  ConvolutionParameter* convolution = param.mutable_convolution_param();
  convolution->set_num_output(shape.outputs);
  convolution->add_kernel_size(shape.kernel);
  convolution->add_pad(shape.pad);
  convolution->add_stride(shape.stride);
  convolution->set_group(shape.group);
  convolution->add_dilation(shape.dilation);
  // Xavier keeps the outputs of the order of the inputs, so that one tolerance serves all shapes.
  convolution->mutable_weight_filler()->set_type("xavier");
  convolution->mutable_bias_filler()->set_type("gaussian");
  return param;
}

void FillGaussian(Blob<float>* blob) { GaussianFiller<float>(FillerParameter()).Fill(blob); }

void FillDiff(Blob<float>* blob) {
  Blob<float> values(blob->shape());
  FillGaussian(&values);
  std::copy_n(values.cpu_data(), values.count(), blob->mutable_cpu_diff());
}

// Of the largest value. Both sum the same products in another order; Winograd's transforms lose
// another digit.
const float kTolerance = 1e-4;

float Largest(int count, const float* values) {
  float largest = 0;
  for (int i = 0; i < count; ++i) largest = std::max(largest, std::abs(values[i]));
  return largest;
}

void ExpectNear(int count, const float* expected, const float* got, const char* what) {
  const float scale = std::max(1e-3f, Largest(count, expected));
  for (int i = 0; i < count; ++i) {
    ASSERT_NEAR(expected[i], got[i], kTolerance * scale) << what << " at " << i;
  }
}

// A layer of each engine with the same weights.
struct Pair {
  Pair(const LayerParameter& param, const Shape& shape,
       OneDnnConvolutionLayer::Algorithms allowed = OneDnnConvolutionLayer::kFastest)
      : bottom(shape.images, shape.channels, shape.height, shape.width),
        stock_bottom(bottom.shape()),
        layer(param, allowed),
        stock(WithoutReLU(param)) {
    FillGaussian(&bottom);
    stock_bottom.CopyFrom(bottom);
    layer.SetUp({&bottom}, {&top});
    stock.SetUp({&stock_bottom}, {&stock_top});
    for (size_t i = 0; i < layer.blobs().size(); ++i) {
      stock.blobs()[i]->CopyFrom(*layer.blobs()[i]);
    }
  }

  static LayerParameter WithoutReLU(LayerParameter param) {
    param.mutable_convolution_param()->clear_fuse_relu();
    return param;
  }

  void Forward() {
    layer.Forward({&bottom}, {&top});
    stock.Forward({&stock_bottom}, {&stock_top});
  }

  void CheckForward() {
    Forward();
    ASSERT_EQ(stock_top.shape(), top.shape());
    ExpectNear(top.count(), stock_top.cpu_data(), top.cpu_data(), "output");
  }

  // Gradients to parameters add to what is there, those to the bottom replace it.
  void CheckBackward(bool propagate_down = true) {
    FillDiff(&top);
    std::copy_n(top.cpu_diff(), top.count(), stock_top.mutable_cpu_diff());
    FillDiff(&bottom);
    std::copy_n(bottom.cpu_diff(), bottom.count(), stock_bottom.mutable_cpu_diff());
    for (size_t i = 0; i < layer.blobs().size(); ++i) {
      FillDiff(layer.blobs()[i].get());
      stock.blobs()[i]->CopyFrom(*layer.blobs()[i], true);
    }
    layer.Backward({&top}, {propagate_down}, {&bottom});
    stock.Backward({&stock_top}, {propagate_down}, {&stock_bottom});
    ExpectNear(bottom.count(), stock_bottom.cpu_diff(), bottom.cpu_diff(), "bottom's gradient");
    for (size_t i = 0; i < layer.blobs().size(); ++i) {
      ExpectNear(layer.blobs()[i]->count(), stock.blobs()[i]->cpu_diff(),
                 layer.blobs()[i]->cpu_diff(), i == 0 ? "weights' gradient" : "bias's gradient");
    }
  }

  Blob<float> bottom, top, stock_bottom, stock_top;
  OneDnnConvolutionLayer layer;
  ConvolutionLayer<float> stock;
};

bool IsStock(const OneDnnConvolutionLayer& layer) { return std::string(layer.kernel()) == "stock"; }
bool IsWinograd(const OneDnnConvolutionLayer& layer) {
  return std::string(layer.kernel()).rfind("winograd, ", 0) == 0;
}

// All ways to run a layer.
const OneDnnConvolutionLayer::Algorithms kAllowed[] = {OneDnnConvolutionLayer::kFastest,
                                                       OneDnnConvolutionLayer::kWinograd,
                                                       OneDnnConvolutionLayer::kAllButWinograd};

}  // namespace

class OneDnnConvolutionLayerTest : public CPUDeviceTest<float> {
 protected:
  OneDnnConvolutionLayerTest() { Caffe::set_random_seed(1701); }
};

TEST_F(OneDnnConvolutionLayerTest, TestLiteral) {
  // [[1, 2], [3, 4]] under a kernel that reads the cell and ten times its right neighbour, plus
  // 100.
  LayerParameter param = Parameter({1, 1, 2, 2, 1, 3, 1, 1, 1, 1}, TEST);
  Blob<float> bottom(1, 1, 2, 2), top;
  for (int i = 0; i < 4; ++i) {
    bottom.mutable_cpu_data()[i] = i + 1;
  }
  OneDnnConvolutionLayer layer(param);
  layer.SetUp({&bottom}, {&top});
  std::fill_n(layer.blobs()[0]->mutable_cpu_data(), 9, 0.f);
  layer.blobs()[0]->mutable_cpu_data()[4] = 1;
  layer.blobs()[0]->mutable_cpu_data()[5] = 10;
  layer.blobs()[1]->mutable_cpu_data()[0] = 100;
  layer.Forward({&bottom}, {&top});
  const float expected[] = {121, 102, 143, 104};
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(expected[i], top.cpu_data()[i]);  // whole numbers are exact
  }
}

TEST_F(OneDnnConvolutionLayerTest, TestVGGShapesRunFast) {
  const Shape shapes[] = {
      {1, 1, 33, 40, 64, 3, 1, 1, 1, 1},   {2, 64, 17, 19, 64, 3, 1, 1, 1, 1},
      {1, 64, 48, 40, 128, 3, 1, 1, 1, 1}, {1, 256, 40, 33, 256, 3, 1, 1, 1, 1},
      {1, 64, 12, 13, 256, 7, 3, 1, 1, 1}, {3, 256, 9, 7, 256, 1, 0, 1, 1, 1},
  };
  for (const Shape& shape : shapes) {
    for (Phase phase : {TRAIN, TEST}) {
      for (auto allowed : kAllowed) {
        Pair pair(Parameter(shape, phase), shape, allowed);
        pair.CheckForward();
        EXPECT_FALSE(IsStock(pair.layer));
        if (allowed == OneDnnConvolutionLayer::kWinograd && shape.kernel == 3) {
          EXPECT_EQ(Winograd::IsSupported(), IsWinograd(pair.layer)) << pair.layer.kernel();
        }
        pair.CheckForward();  // with weights kept from the first pass
        pair.CheckBackward();
      }
    }
  }
}

TEST_F(OneDnnConvolutionLayerTest, TestRandomShapes) {
  // Odd sizes and channels, maps of one cell, strides, groups, dilation.
  int stock = 0;
  const int kernels[] = {1, 2, 3, 5, 7};
  for (int trial = 0; trial < 60; ++trial) {
    const auto draw = [](int low, int high) {
      return low + static_cast<int>(caffe_rng_rand() % (high - low + 1));
    };
    Shape shape;
    shape.group = trial % 4 == 3 ? draw(2, 3) : 1;
    shape.images = draw(1, 3);
    shape.channels = shape.group * draw(1, 20);
    shape.outputs = shape.group * draw(1, 20);
    shape.kernel = kernels[draw(0, 4)];
    shape.pad = draw(0, shape.kernel / 2);
    shape.stride = draw(1, 2);
    shape.dilation = trial % 5 == 4 ? 2 : 1;
    const int extent = shape.dilation * (shape.kernel - 1) + 1;
    shape.height = std::max(1, extent - 2 * shape.pad) + draw(0, 12);
    shape.width = std::max(1, extent - 2 * shape.pad) + draw(0, 40);
    LayerParameter param = Parameter(shape, TEST);
    param.mutable_convolution_param()->set_bias_term(trial % 3 != 2);
    SCOPED_TRACE(param.DebugString());
    Pair pair(param, shape);
    pair.CheckForward();
    pair.CheckBackward();
    if (HasFatalFailure()) {
      return;
    }
    stock += IsStock(pair.layer);
  }
  EXPECT_LT(stock, 20);  // else this would compare the stock engine with itself
}

TEST_F(OneDnnConvolutionLayerTest, TestProductOfLargeWeights) {
  const Shape shapes[] = {{1, 5, 3, 2, 64, 3, 1, 1, 1, 1},
                          {2, 7, 2, 2, 65, 1, 0, 1, 1, 1},
                          {1, 3, 9, 8, 400, 3, 2, 2, 1, 2},
                          {1, 16, 7, 7, 100, 7, 0, 1, 1, 1}};
  for (const Shape& shape : shapes) {
    for (bool rectify : {false, true}) {
      LayerParameter param = Parameter(shape, TEST);
      param.mutable_convolution_param()->set_fuse_relu(rectify);
      Pair pair(param, shape);
      pair.Forward();
      EXPECT_STREQ("product", pair.layer.kernel());
      for (int i = 0; i < pair.top.count(); ++i) {
        float* expected = pair.stock_top.mutable_cpu_data() + i;
        if (rectify) *expected = std::max(*expected, 0.f);
      }
      ExpectNear(pair.top.count(), pair.stock_top.cpu_data(), pair.top.cpu_data(), "output");
      if (!rectify) pair.CheckBackward();
    }
  }
}

TEST_F(OneDnnConvolutionLayerTest, TestStockEngineLearnsFromFewOutputs) {
  const Shape shape = {1, 16, 8, 8, 16, 3, 1, 1, 1, 1};
  Pair learning(Parameter(shape, TRAIN), shape, OneDnnConvolutionLayer::kAllButWinograd);
  learning.CheckForward();
  learning.CheckBackward();
  EXPECT_TRUE(IsStock(learning.layer));
  Pair frozen(Parameter(shape, TRAIN), shape, OneDnnConvolutionLayer::kAllButWinograd);
  frozen.layer.set_param_propagate_down(0, false);
  frozen.stock.set_param_propagate_down(0, false);
  frozen.CheckForward();
  frozen.CheckBackward();
  EXPECT_FALSE(IsStock(frozen.layer));
}

TEST_F(OneDnnConvolutionLayerTest, TestChangedWeightsAreSeen) {
  // In place, by another array, and back: as a solver, a snapshot and surgery do it.
  const Shape shape = {1, 32, 36, 35, 32, 3, 1, 1, 1, 1};
  for (int way = 0; way < 6; ++way) {
    const Phase phase = way % 2 ? TRAIN : TEST;
    for (bool learns : {true, false}) {
      Pair pair(Parameter(shape, phase), shape, kAllowed[way / 2]);
      pair.layer.set_param_propagate_down(0, learns);
      pair.CheckForward();
      for (int position : {0, 4000, pair.layer.blobs()[0]->count() - 1}) {
        pair.layer.blobs()[0]->mutable_cpu_data()[position] += 1;
        pair.stock.blobs()[0]->mutable_cpu_data()[position] += 1;
        pair.CheckForward();
      }
      // A sign alone, and two values that change places.
      float* weights = pair.layer.blobs()[0]->mutable_cpu_data();
      weights[7] = -weights[7];
      std::swap(weights[100], weights[101]);
      pair.stock.blobs()[0]->CopyFrom(*pair.layer.blobs()[0]);
      pair.CheckForward();
      Blob<float> other(pair.layer.blobs()[0]->shape());
      FillGaussian(&other);
      pair.layer.blobs()[0]->ShareData(other);
      pair.stock.blobs()[0]->ShareData(other);
      pair.CheckForward();
    }
  }
}

TEST_F(OneDnnConvolutionLayerTest, TestSizesChange) {
  const Shape shape = {1, 16, 40, 40, 32, 3, 1, 1, 1, 1};
  const int sizes[][3] = {{1, 40, 40}, {2, 5, 64}, {1, 1, 1}, {1, 64, 64}, {1, 40, 40}};
  for (auto allowed : kAllowed) {
    Pair pair(Parameter(shape, TEST), shape, allowed);
    for (const int* size : sizes) {
      pair.bottom.Reshape(size[0], shape.channels, size[1], size[2]);
      FillGaussian(&pair.bottom);
      pair.stock_bottom.CopyFrom(pair.bottom, false, true);
      pair.CheckForward();
      pair.CheckBackward();
    }
  }
}

TEST_F(OneDnnConvolutionLayerTest, TestFusedReLU) {
  // Kernels of oneDNN, with Winograd's algorithm and without, and the stock engine's.
  const Shape shapes[] = {{1, 32, 36, 35, 32, 3, 1, 1, 1, 1}, {2, 5, 9, 7, 6, 3, 1, 2, 1, 1}};
  for (const Shape& shape : shapes) {
    for (int way = 0; way < 6; ++way) {
      const Phase phase = way % 2 ? TRAIN : TEST;
      const OneDnnConvolutionLayer::Algorithms allowed = kAllowed[way / 2];
      LayerParameter param = Parameter(shape, phase);
      Pair plain(param, shape, allowed);
      param.mutable_convolution_param()->set_fuse_relu(true);
      Pair pair(param, shape, allowed);
      for (size_t i = 0; i < 2; ++i) {
        plain.layer.blobs()[i]->CopyFrom(*pair.layer.blobs()[i]);
      }
      plain.bottom.CopyFrom(pair.bottom);
      plain.layer.Forward({&plain.bottom}, {&plain.top});
      pair.Forward();
      int rectified = 0;
      for (int i = 0; i < pair.top.count(); ++i) {
        // The same bits as the kernel's without ReLU.
        ASSERT_EQ(std::max(plain.top.cpu_data()[i], 0.f), pair.top.cpu_data()[i]);
        rectified += pair.top.cpu_data()[i] == 0;
      }
      ASSERT_GT(rectified, pair.top.count() / 4);
      // The gradient of the stock layer, after what an in-place ReLU does to its top's.
      FillDiff(&pair.top);
      for (int i = 0; i < pair.top.count(); ++i) {
        pair.stock_top.mutable_cpu_diff()[i] =
            pair.top.cpu_data()[i] > 0 ? pair.top.cpu_diff()[i] : 0;
      }
      for (Layer<float>* layer :
           {static_cast<Layer<float>*>(&pair.layer), static_cast<Layer<float>*>(&pair.stock)}) {
        for (const shared_ptr<Blob<float> >& blob : layer->blobs()) {
          std::fill_n(blob->mutable_cpu_diff(), blob->count(), 0.f);
        }
      }
      pair.layer.Backward({&pair.top}, {true}, {&pair.bottom});
      pair.stock.Backward({&pair.stock_top}, {true}, {&pair.stock_bottom});
      ExpectNear(pair.bottom.count(), pair.stock_bottom.cpu_diff(), pair.bottom.cpu_diff(),
                 "bottom");
      ExpectNear(pair.top.count(), pair.stock_top.cpu_diff(), pair.top.cpu_diff(), "top");
    }
  }
}

TEST_F(OneDnnConvolutionLayerTest, TestGradient) {
  // Steps and tolerance are those of Caffe's own tests of layers in single precision.
  const Shape shapes[] = {{1, 2, 3, 4, 2, 3, 1, 1, 1, 1}, {1, 8, 2, 3, 8, 1, 0, 1, 1, 1}};
  for (const Shape& shape : shapes) {
    LayerParameter param = Parameter(shape, TEST);
    for (auto allowed : kAllowed) {
      OneDnnConvolutionLayer layer(param, allowed);
      Blob<float> bottom(shape.images, shape.channels, shape.height, shape.width), top;
      FillGaussian(&bottom);
      GradientChecker<float> checker(1e-2, 1e-3);
      checker.CheckGradientExhaustive(&layer, {&bottom}, {&top});
    }
  }
}

TEST_F(OneDnnConvolutionLayerTest, TestHonoursWhatLearns) {
  const Shape shape = {1, 16, 7, 6, 16, 3, 1, 1, 1, 1};
  for (int way = 0; way < 24; ++way) {
    const int mask = way % 8;
    Pair pair(Parameter(shape, TEST), shape, kAllowed[way / 8]);
    for (int i = 0; i < 2; ++i) {
      pair.layer.set_param_propagate_down(i, mask >> i & 1);
      pair.stock.set_param_propagate_down(i, mask >> i & 1);
    }
    pair.CheckForward();
    pair.CheckBackward(mask >> 2 & 1);
  }
}

TEST_F(OneDnnConvolutionLayerTest, TestTwoBottoms) {
  const Shape shape = {1, 16, 7, 6, 16, 3, 1, 1, 1, 1};
  OneDnnConvolutionLayer layer(Parameter(shape, TEST));
  Blob<float> bottom(1, 16, 7, 6), other(1, 16, 7, 6), top, other_top;
  FillGaussian(&bottom);
  FillGaussian(&other);
  layer.SetUp({&bottom, &other}, {&top, &other_top});
  layer.Forward({&bottom, &other}, {&top, &other_top});
  ConvolutionLayer<float> stock(Parameter(shape, TEST));
  Blob<float> expected, other_expected;
  stock.SetUp({&bottom, &other}, {&expected, &other_expected});
  for (int i = 0; i < 2; ++i) {
    stock.blobs()[i]->CopyFrom(*layer.blobs()[i]);
  }
  stock.Forward({&bottom, &other}, {&expected, &other_expected});
  ExpectNear(top.count(), expected.cpu_data(), top.cpu_data(), "first");
  ExpectNear(top.count(), other_expected.cpu_data(), other_top.cpu_data(), "second");
}

TEST_F(OneDnnConvolutionLayerTest, TestStockEngineRunsOtherDimensions) {
  LayerParameter param = Parameter({1, 2, 4, 4, 3, 3, 1, 1, 1, 1}, TEST);
  param.mutable_convolution_param()->set_fuse_relu(true);
  OneDnnConvolutionLayer layer(param);
  ConvolutionLayer<float> stock(Pair::WithoutReLU(param));
  Blob<float> bottom(std::vector<int>{1, 2, 4, 3, 5}), top, expected;
  FillGaussian(&bottom);
  layer.SetUp({&bottom}, {&top});
  stock.SetUp({&bottom}, {&expected});
  for (int i = 0; i < 2; ++i) {
    stock.blobs()[i]->CopyFrom(*layer.blobs()[i]);
  }
  layer.Forward({&bottom}, {&top});
  stock.Forward({&bottom}, {&expected});
  EXPECT_TRUE(IsStock(layer));
  for (int i = 0; i < top.count(); ++i) {
    EXPECT_EQ(std::max(expected.cpu_data()[i], 0.f), top.cpu_data()[i]);
  }
}

}  // namespace caffe
