// A chain of taps against SparseHypercolumn, which has an oracle of its own.

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/filler.hpp"
#include "caffe/layers/hypercolumn_tap_layer.hpp"
#include "caffe/test/test_caffe_main.hpp"

namespace caffe {

template <typename TypeParam>
class HypercolumnTapLayerTest : public MultiDeviceTest<TypeParam> {
  typedef typename TypeParam::Dtype Dtype;

 protected:
  HypercolumnTapLayerTest() {
    Caffe::set_random_seed(1701);
    // The second is a small map, which is transposed first; the first has more than one block.
    Resize(2, 40, {{150, 6, 27}, {37, 3, 4}, {1, 1, 1}});
    param_.set_name("tap");
    param_.mutable_sparse_hypercolumn_param()->add_scale(2);
    param_.mutable_sparse_hypercolumn_param()->add_offset_height(0.5);
    param_.mutable_sparse_hypercolumn_param()->add_offset_width(0.25);
    param_.mutable_sparse_hypercolumn_param()->add_activation_mult(1.5);
  }

  void Fill(const std::vector<int>& shape, Dtype low, Dtype high) {
    blobs_.emplace_back(new Blob<Dtype>(shape));
    FillerParameter range;
    range.set_min(low);
    range.set_max(high);
    UniformFiller<Dtype>(range).Fill(blobs_.back().get());
  }

  void Resize(int images, int locations, const std::vector<std::vector<int> >& levels) {
    blobs_.clear();
    Fill({images, locations, 2}, -2, 12);
    int channels = 0;
    for (const std::vector<int>& level : levels) {
      Fill({images, level[0], level[1], level[2]}, -1, 1);
      channels += level[0];
    }
    hypercolumns_.Reshape({images * locations, channels});
  }

  Blob<Dtype>* level(int index) { return blobs_[1 + index].get(); }

  std::vector<shared_ptr<HypercolumnTapLayer<Dtype> > > Chain(size_t outputs) {
    std::vector<shared_ptr<HypercolumnTapLayer<Dtype> > > taps;
    LayerParameter param = param_;
    int channel = 0;
    for (size_t l = 0; l + 1 < blobs_.size(); ++l) {
      param.mutable_sparse_hypercolumn_param()->set_first_channel(channel);
      channel += level(l)->shape(1);
      taps.emplace_back(new HypercolumnTapLayer<Dtype>(param));
      taps.back()->SetUp(Bottoms(l), Tops(l, outputs));
    }
    return taps;
  }
  std::vector<Blob<Dtype>*> Bottoms(int l) { return {&hypercolumns_, level(l), blobs_[0].get()}; }
  std::vector<Blob<Dtype>*> Tops(int l, size_t outputs) {
    std::vector<Blob<Dtype>*> tops{&hypercolumns_, level(l)};
    tops.resize(outputs);
    return tops;
  }

  LayerParameter param_;
  std::vector<shared_ptr<Blob<Dtype> > > blobs_;
  Blob<Dtype> hypercolumns_;
};

TYPED_TEST_CASE(HypercolumnTapLayerTest, TestDtypesAndDevices);

TYPED_TEST(HypercolumnTapLayerTest, TestLiteral) {
  typedef typename TypeParam::Dtype Dtype;
  this->Resize(1, 1, {{1, 1, 2}});
  this->blobs_[0]->mutable_cpu_data()[0] = 0;
  this->blobs_[0]->mutable_cpu_data()[1] = 0.25;
  this->level(0)->mutable_cpu_data()[0] = 8;
  this->level(0)->mutable_cpu_data()[1] = 4;
  this->hypercolumns_.Reshape({1, 3});
  caffe_set(3, Dtype(-1), this->hypercolumns_.mutable_cpu_data());
  LayerParameter param;
  param.mutable_sparse_hypercolumn_param()->set_first_channel(1);
  HypercolumnTapLayer<Dtype> tap(param);
  tap.SetUp(this->Bottoms(0), this->Tops(0, 2));
  tap.Forward(this->Bottoms(0), this->Tops(0, 2));
  EXPECT_EQ(-1, this->hypercolumns_.cpu_data()[0]);
  EXPECT_EQ(7, this->hypercolumns_.cpu_data()[1]);  // 3/4 of 8 and 1/4 of 4
  EXPECT_EQ(-1, this->hypercolumns_.cpu_data()[2]);
  const Dtype gradient[] = {100, 2, 100};
  caffe_copy(3, gradient, this->hypercolumns_.mutable_cpu_diff());
  caffe_set(2, Dtype(10), this->level(0)->mutable_cpu_diff());
  tap.Backward(this->Tops(0, 2), {true, true, false}, this->Bottoms(0));
  EXPECT_EQ(11.5, this->level(0)->cpu_diff()[0]);
  EXPECT_EQ(10.5, this->level(0)->cpu_diff()[1]);
  EXPECT_EQ(2, this->hypercolumns_.cpu_diff()[1]);
}

TYPED_TEST(HypercolumnTapLayerTest, TestAChainIsSparseHypercolumn) {
  typedef typename TypeParam::Dtype Dtype;
  for (const int form : {0, 1, 2, 3}) {
    const bool deterministic = form % 2 == 1;
    if (form == 2) {  // from here on rows (image, y, x), of the second image first
      shared_ptr<Blob<Dtype> > rows(new Blob<Dtype>(std::vector<int>{80, 3}));
      for (int row = 0; row < 80; ++row) {
        Dtype* values = rows->mutable_cpu_data() + 3 * row;
        values[0] = row < 7 || row == 50;
        caffe_copy(2, this->blobs_[0]->cpu_data() + 2 * row, values + 1);
      }
      this->blobs_[0] = rows;
    }
    this->param_.mutable_sparse_hypercolumn_param()->set_deterministic(deterministic);
    std::vector<Blob<Dtype>*> bottoms;
    for (const auto& blob : this->blobs_) bottoms.push_back(blob.get());
    Blob<Dtype> expected;
    const std::vector<Blob<Dtype>*> top{&expected};
    SparseHypercolumnLayer<Dtype> whole(this->param_);
    whole.SetUp(bottoms, top);
    whole.Forward(bottoms, top);
    Blob<Dtype> gradient(expected.shape());
    GaussianFiller<Dtype>(FillerParameter()).Fill(&gradient);
    caffe_copy(gradient.count(), gradient.cpu_data(), expected.mutable_cpu_diff());
    whole.Backward(top, {false, true, true, true}, bottoms);
    std::vector<shared_ptr<Blob<Dtype> > > diffs;
    for (int l = 0; l < 3; ++l) {
      diffs.emplace_back(new Blob<Dtype>(this->level(l)->shape()));
      diffs.back()->CopyFrom(*this->level(l), true);
    }
    for (size_t outputs : {1, 2}) {
      const Dtype before = outputs == 2 ? 3 : 0;  // from the layers that come after the tap
      auto taps = this->Chain(outputs);
      for (int l = 0; l < 3; ++l) {
        taps[l]->Forward(this->Bottoms(l), this->Tops(l, outputs));
        caffe_set(this->level(l)->count(), Dtype(3), this->level(l)->mutable_cpu_diff());
      }
      for (int i = 0; i < expected.count(); ++i) {
        ASSERT_EQ(expected.cpu_data()[i], this->hypercolumns_.cpu_data()[i]);
      }
      caffe_copy(gradient.count(), gradient.cpu_data(), this->hypercolumns_.mutable_cpu_diff());
      for (int l = 2; l >= 0; --l) {
        taps[l]->Backward(this->Tops(l, outputs), {true, true, false}, this->Bottoms(l));
        for (int i = 0; i < diffs[l]->count(); ++i) {
          // Sums of up to 80 values of order one in another order.
          ASSERT_NEAR(before + diffs[l]->cpu_diff()[i], this->level(l)->cpu_diff()[i],
                      sizeof(Dtype) == 4 ? 5e-5 : 1e-13);
        }
      }
    }
  }
}

TYPED_TEST(HypercolumnTapLayerTest, TestPropagateDown) {
  typedef typename TypeParam::Dtype Dtype;
  auto taps = this->Chain(2);
  taps[0]->Forward(this->Bottoms(0), this->Tops(0, 2));
  caffe_set(this->hypercolumns_.count(), Dtype(1), this->hypercolumns_.mutable_cpu_diff());
  caffe_set(this->level(0)->count(), Dtype(-7), this->level(0)->mutable_cpu_diff());
  taps[0]->Backward(this->Tops(0, 2), {true, false, false}, this->Bottoms(0));
  for (int i = 0; i < this->level(0)->count(); ++i) {
    ASSERT_EQ(-7, this->level(0)->cpu_diff()[i]);
  }
  EXPECT_DEATH(taps[0]->Backward(this->Tops(0, 2), {true, true, true}, this->Bottoms(0)),
               "layer tap: propagate_down of bottom 2");
}

TYPED_TEST(HypercolumnTapLayerTest, TestMessages) {
  typedef typename TypeParam::Dtype Dtype;
  HypercolumnTapLayer<Dtype> tap(this->param_);
  Blob<Dtype> other(this->level(0)->shape());
  EXPECT_DEATH(tap.SetUp(this->Bottoms(0), {&this->hypercolumns_, &other}),
               "layer tap: top 1 expected to be in place");
  EXPECT_DEATH(tap.SetUp({&this->hypercolumns_, this->level(0)}, {&this->hypercolumns_}),
               "layer tap: expected 3 bottoms, got 2");
  Blob<Dtype> rows(std::vector<int>{3, 188});
  EXPECT_DEATH(tap.SetUp({&rows, this->level(0), this->blobs_[0].get()}, {&rows}),
               "layer tap: hypercolumns expected shape .80, K., got 3 188");
  this->param_.mutable_sparse_hypercolumn_param()->set_first_channel(39);
  HypercolumnTapLayer<Dtype> late(this->param_);
  EXPECT_DEATH(late.SetUp(this->Bottoms(0), this->Tops(0, 1)),
               "layer tap: first_channel 39 and 150 channels of features expected hypercolumns "
               "that have them, got 188 channels");
  SparseHypercolumnLayer<Dtype> whole(this->param_);
  EXPECT_DEATH(whole.SetUp({this->blobs_[0].get(), this->level(0)}, {&other}),
               "layer tap: first_channel expected type HypercolumnTap, got SparseHypercolumn");
}

}  // namespace caffe
