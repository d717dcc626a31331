#ifndef CAFFE_HYPERCOLUMN_INNER_PRODUCT_BACKWARD_HPP_
#define CAFFE_HYPERCOLUMN_INNER_PRODUCT_BACKWARD_HPP_

#include <vector>

#include "caffe/layers/hypercolumn_inner_product_layer.hpp"

namespace caffe {

/// `Device` is OnCPU or OnGPU with Gemm, AddRowSums, Upsample and UpsampleAdjoint.
template <typename Dtype>
template <typename Device>
void HypercolumnInnerProductLayer<Dtype>::BackwardOn(const vector<Blob<Dtype>*>& top,
                                                     const vector<bool>& propagate_down,
                                                     const vector<Blob<Dtype>*>& bottom) {
  CHECK_EQ(heads_, 0) << "layer " << this->layer_param_.name()
                      << ": a gradient expected heads of 0, got " << heads_
                      << ": train with ReLU and HypercolumnInnerProduct layers instead";
  ReshapeWorkspace(grid_.height());
  const int cells = grid_.cells();
  const bool to_weight = this->param_propagate_down_[0];
  const bool to_bias = this->blobs_.size() > 1 && this->param_propagate_down_[1];
  Dtype* workspace = Device::MutableData(&workspace_);
  for (int n = 0; n < bottom[0]->shape(0); ++n) {
    const Dtype* out = Device::Diff(*top[0]) + static_cast<size_t>(n) * num_output_ * cells;
    if (to_bias) {
      Device::AddRowSums(num_output_, cells, out, &ones_,
                         Device::MutableDiff(this->blobs_[1].get()));
    }
    for (size_t l = 0; l < grid_.levels().size(); ++l) {
      const bool to_bottom = Propagates(propagate_down, l);
      if (!to_weight && !to_bottom) {
        continue;
      }
      const HypercolumnLevel& level = grid_.levels()[l];
      const BilinearGrid taps = grid_.template Taps<Device>(l);
      const int plane = level.plane();
      const Dtype alpha = static_cast<Dtype>(level.multiplier);
      const size_t image = static_cast<size_t>(n) * level.channels * plane;
      // The product's two sides: projected first, the gradient of the outputs comes to the level's
      // cells; otherwise the level goes to the grid's.
      const int count = grid_.ProjectsFirst(l) ? plane : cells;
      const Dtype* outputs = out;
      if (grid_.ProjectsFirst(l)) {
        Device::UpsampleAdjoint(taps, num_output_, out, workspace);
        outputs = workspace;
      }
      if (to_weight) {
        const Dtype* features = Device::Data(*bottom[l]) + image;
        if (grid_.SamplesFirst(l)) {
          Device::Upsample(taps, level.channels, features, workspace);
          features = workspace;
        }
        Device::Gemm(false, true, num_output_, level.channels, count, alpha, outputs, count,
                     features, count, Dtype(1),
                     Device::MutableDiff(this->blobs_[0].get()) + level.first_channel, channels_);
      }
      if (to_bottom) {
        Dtype* features_diff = Device::MutableDiff(bottom[l]) + image;
        Device::Gemm(true, false, level.channels, count, num_output_, alpha,
                     Device::Data(*this->blobs_[0]) + level.first_channel, channels_, outputs,
                     count, Dtype(0), grid_.SamplesFirst(l) ? workspace : features_diff, count);
        if (grid_.SamplesFirst(l)) {
          Device::UpsampleAdjoint(taps, level.channels, workspace, features_diff);
        }
      }
    }
  }
}

}  // namespace caffe

#endif  // CAFFE_HYPERCOLUMN_INNER_PRODUCT_BACKWARD_HPP_
