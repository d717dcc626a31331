#include "caffe/layers/hypercolumn_tap_layer.hpp"

#include <climits>
#include <vector>

#include "caffe/layers/hypercolumn_geometry.hpp"

namespace caffe {

// SparseHypercolumn's own blobs: bottoms are locations and one level, the top is the hypercolumns.

template <typename Dtype>
void HypercolumnTapLayer<Dtype>::Reshape(const vector<Blob<Dtype>*>& bottom,
                                         const vector<Blob<Dtype>*>& top) {
  const string& name = this->layer_param_.name();
  const SparseHypercolumnParameter& param = this->layer_param_.sparse_hypercolumn_param();
  for (size_t i = 0; i < top.size(); ++i) {
    CHECK_EQ(top[i], bottom[i]) << "layer " << name << ": top " << i
                                << " expected to be in place, that is bottom " << i
                                << ", got another blob";
  }
  this->levels_ = MakeHypercolumnLevels(vector<Blob<Dtype>*>{bottom[1]}, 0, param, name);
  this->images_ = bottom[1]->shape(0);
  this->rows_.Reshape(*bottom[2], this->images_, "features", name);
  const int rows = this->rows_.count();
  CHECK(bottom[0]->num_axes() == 2 && bottom[0]->shape(0) == rows)
      << "layer " << name << ": hypercolumns expected shape (" << rows << ", K), got "
      << bottom[0]->shape_string();
  this->channels_ = bottom[0]->shape(1);
  HypercolumnLevel& level = this->levels_[0];
  CHECK_LE(static_cast<double>(param.first_channel()) + level.channels, this->channels_)
      << "layer " << name << ": first_channel " << param.first_channel() << " and "
      << level.channels << " channels of features expected hypercolumns that have them, got "
      << this->channels_ << " channels";
  level.first_channel = static_cast<int>(param.first_channel());
  level.nearest = param.nearest();
  this->accumulates_ = top.size() > 1;
  if (param.share_gradient() && Caffe::mode() == Caffe::CPU) {
    bottom[0]->diff()->set_cpu_data(bottom[0]->mutable_cpu_data());
  }
  this->cells_.Resize(rows);
}

template <typename Dtype>
void HypercolumnTapLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
                                             const vector<Blob<Dtype>*>& top) {
  SparseHypercolumnLayer<Dtype>::Forward_cpu({bottom[2], bottom[1]}, {top[0]});
}

template <typename Dtype>
void HypercolumnTapLayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>& top,
                                              const vector<bool>& propagate_down,
                                              const vector<Blob<Dtype>*>& bottom) {
  this->RejectLocationGradient(propagate_down, 2);
  SparseHypercolumnLayer<Dtype>::Backward_cpu({top[0]}, {false, Propagates(propagate_down, 1)},
                                              {bottom[2], bottom[1]});
}

#ifdef CPU_ONLY
STUB_GPU(HypercolumnTapLayer);
#endif

INSTANTIATE_CLASS(HypercolumnTapLayer);
REGISTER_LAYER_CLASS(HypercolumnTap);

}  // namespace caffe
