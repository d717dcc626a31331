#include <algorithm>
#include <vector>

#include "gtest/gtest.h"

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/filler.hpp"
#include "caffe/test/test_caffe_main.hpp"
#include "onednn/threaded_layers.hpp"

namespace caffe {

template <typename Dtype>
class ThreadedLayersTest : public CPUDeviceTest<Dtype> {
 protected:
  ThreadedLayersTest() { Caffe::set_random_seed(1701); }

  // Values of which many are equal and many zero, so that the choice between equals shows.
  void Fill(Blob<Dtype>* blob) {
    GaussianFiller<Dtype>(FillerParameter()).Fill(blob);
    for (int i = 0; i < blob->count(); ++i) {
      blob->mutable_cpu_data()[i] = static_cast<int>(2 * blob->cpu_data()[i]);
    }
  }

  // Both passes give the same bits; what was in the gradient before is overwritten.
  void Compare(Layer<Dtype>* layer, Layer<Dtype>* stock, Blob<Dtype>* bottom) {
    Blob<Dtype> stock_bottom(bottom->shape()), top, stock_top;
    Fill(bottom);
    stock_bottom.CopyFrom(*bottom);
    layer->SetUp({bottom}, {&top});
    stock->SetUp({&stock_bottom}, {&stock_top});
    layer->Forward({bottom}, {&top});
    stock->Forward({&stock_bottom}, {&stock_top});
    ASSERT_EQ(stock_top.shape(), top.shape());
    for (int i = 0; i < top.count(); ++i) {
      ASSERT_EQ(stock_top.cpu_data()[i], top.cpu_data()[i]);
      top.mutable_cpu_diff()[i] = stock_top.mutable_cpu_diff()[i] = i % 17 + Dtype(0.1);
    }
    std::fill_n(bottom->mutable_cpu_diff(), bottom->count(), Dtype(5));
    for (bool propagate_down : {false, true}) {
      layer->Backward({&top}, {propagate_down}, {bottom});
      EXPECT_EQ(!propagate_down, bottom->cpu_diff()[0] == Dtype(5));
    }
    stock->Backward({&stock_top}, {true}, {&stock_bottom});
    for (int i = 0; i < bottom->count(); ++i) {
      ASSERT_EQ(stock_bottom.cpu_diff()[i], bottom->cpu_diff()[i]);
    }
  }
};

TYPED_TEST_CASE(ThreadedLayersTest, TestDtypes);

TYPED_TEST(ThreadedLayersTest, TestPooling) {
  const int settings[][3] = {
      {2, 2, 0}, {3, 2, 0}, {3, 1, 1}, {5, 3, 2}, {1, 1, 0}};  // kernel, stride, pad
  for (PoolingParameter::PoolMethod method : {PoolingParameter::MAX, PoolingParameter::AVE}) {
    for (const int* setting : settings) {
      for (int side : {5, 8, 13}) {
        LayerParameter param;
        PoolingParameter* pooling = param.mutable_pooling_param();
        pooling->set_pool(method);
        pooling->set_kernel_size(setting[0]);
        pooling->set_stride(setting[1]);
        pooling->set_pad(setting[2]);
        ThreadedPoolingLayer<TypeParam> layer(param);
        PoolingLayer<TypeParam> stock(param);
        Blob<TypeParam> bottom(2, 3, side, side + 2);
        this->Compare(&layer, &stock, &bottom);
      }
    }
  }
}

TYPED_TEST(ThreadedLayersTest, TestPoolingWithMask) {
  LayerParameter param;
  param.mutable_pooling_param()->set_kernel_size(2);
  ThreadedPoolingLayer<TypeParam> layer(param);
  Blob<TypeParam> bottom(1, 1, 2, 2), top, mask;
  for (int i = 0; i < 4; ++i) {
    bottom.mutable_cpu_data()[i] = i == 2 ? 7 : i;
  }
  layer.SetUp({&bottom}, {&top, &mask});
  layer.Forward({&bottom}, {&top, &mask});
  EXPECT_EQ(7, top.cpu_data()[0]);
  EXPECT_EQ(2, mask.cpu_data()[0]);
}

TYPED_TEST(ThreadedLayersTest, TestReLU) {
  for (float slope : {0.f, 0.25f}) {
    LayerParameter param;
    param.mutable_relu_param()->set_negative_slope(slope);
    ThreadedReLULayer<TypeParam> layer(param);
    ReLULayer<TypeParam> stock(param);
    Blob<TypeParam> bottom(2, 3, 7, 5);
    this->Compare(&layer, &stock, &bottom);
  }
}

}  // namespace caffe
