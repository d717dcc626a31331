#ifndef CAFFE_HYPERCOLUMN_INNER_PRODUCT_FORWARD_HPP_
#define CAFFE_HYPERCOLUMN_INNER_PRODUCT_FORWARD_HPP_

#include <algorithm>
#include <vector>

#include "caffe/layers/hypercolumn_inner_product_layer.hpp"

namespace caffe {

/// Each output channel starts from its bias, or from 0; `index` runs over one image's output.
template <typename Dtype>
struct StartFromBias {
  const Dtype* bias;
  int outputs;
  Dtype* out;

  AUTOCOLOR_HOST_DEVICE void operator()(int64_t index) const {
    out[index] = bias == nullptr ? Dtype(0) : bias[index / outputs];
  }
};

template <typename Dtype>
struct Rectify {
  Dtype* values;

  AUTOCOLOR_HOST_DEVICE void operator()(int64_t index) const {
    values[index] = values[index] > 0 ? values[index] : Dtype(0);
  }
};

/// The forward pass of the GPU; tests run it on the CPU, which has BandForward. With heads, the
/// hidden output is made in bands of rows of at most `band_values` values, or of one row. A level
/// that is projected first is projected at the rows of cells that a band reads, so that two
/// neighbouring bands share at most two rows of it.
///
/// `Device` is OnGPU with Gemm and Upsample.
template <typename Dtype>
template <typename Device>
void HypercolumnInnerProductLayer<Dtype>::ForwardOn(const vector<Blob<Dtype>*>& bottom,
                                                    const vector<Blob<Dtype>*>& top,
                                                    int64_t band_values) {
  const int height = grid_.height(), width = grid_.width(), cells = grid_.cells();
  const int64_t row_values = static_cast<int64_t>(num_output_) * width;
  const int band_rows = heads_ > 0 ? static_cast<int>(std::min<int64_t>(
                                         height, std::max<int64_t>(1, band_values / row_values)))
                                   : height;
  ReshapeWorkspace(band_rows);
  if (heads_ > 0) {
    hidden_.Reshape(vector<int>{num_output_, band_rows * width});
  }
  const size_t levels = grid_.levels().size();
  for (int n = 0; n < bottom[0]->shape(0); ++n) {
    if (heads_ == 0) {
      FillBandOn<Device>(
          bottom, n, 0, height,
          Device::MutableData(top[0]) + static_cast<size_t>(n) * num_output_ * cells);
      continue;
    }
    for (int h = 0; h < heads_; ++h) {
      const int64_t count = top[h]->count(1);
      const StartFromBias<Dtype> start = {Device::Data(*bottom[levels + 2 * h + 1]), cells,
                                          Device::MutableData(top[h]) + n * count};
      Device::Run(count, start);
    }
    for (int first = 0; first < height; first += band_rows) {
      const int rows = std::min(band_rows, height - first), band = rows * width;
      Dtype* hidden = Device::MutableData(&hidden_);
      FillBandOn<Device>(bottom, n, first, rows, hidden);
      const Rectify<Dtype> rectify = {hidden};
      Device::Run(rows * row_values, rectify);
      for (int h = 0; h < heads_; ++h) {
        Dtype* out = Device::MutableData(top[h]) + static_cast<int64_t>(n) * top[h]->count(1);
        Device::Gemm(false, false, top[h]->shape(1), band, num_output_, Dtype(1),
                     Device::Data(*bottom[levels + 2 * h]), num_output_, hidden, band, Dtype(1),
                     out + static_cast<int64_t>(first) * width, cells);
      }
    }
  }
}

/// Rows [first, first + rows) of image n's output before the heads, (num_output, rows, W').
template <typename Dtype>
template <typename Device>
void HypercolumnInnerProductLayer<Dtype>::FillBandOn(const vector<Blob<Dtype>*>& bottom, int n,
                                                     int first, int rows, Dtype* out) {
  const int width = grid_.width(), band = rows * width;
  const Dtype* weight = Device::Data(*this->blobs_[0]);
  const StartFromBias<Dtype> start = {
      this->blobs_.size() > 1 ? Device::Data(*this->blobs_[1]) : nullptr, band, out};
  Device::Run(static_cast<int64_t>(num_output_) * band, start);
  Dtype* workspace = Device::MutableData(&workspace_);
  for (size_t l = 0; l < grid_.levels().size(); ++l) {
    const HypercolumnLevel& level = grid_.levels()[l];
    const BilinearGrid taps = grid_.template BandTaps<Device>(l, first, rows);
    const int plane = level.plane();
    const Dtype alpha = static_cast<Dtype>(level.multiplier);
    const Dtype* features =
        Device::Data(*bottom[l]) + static_cast<size_t>(n) * level.channels * plane;
    const Dtype* level_weight = weight + level.first_channel;
    if (grid_.ProjectsFirst(l)) {
      const int read = taps.height * level.width;
      Device::Gemm(false, false, num_output_, read, level.channels, alpha, level_weight, channels_,
                   features + static_cast<int64_t>(taps.first_row) * level.width, plane, Dtype(0),
                   workspace, read);
      Device::Upsample(taps, num_output_, workspace, out, true);
    } else if (grid_.SamplesFirst(l)) {
      Device::Upsample(taps, level.channels, features, workspace);
      Device::Gemm(false, false, num_output_, band, level.channels, alpha, level_weight, channels_,
                   workspace, band, Dtype(1), out, band);
    } else {
      Device::Gemm(false, false, num_output_, band, level.channels, alpha, level_weight, channels_,
                   features + static_cast<int64_t>(first) * width, plane, Dtype(1), out, band);
    }
  }
}

}  // namespace caffe

#endif  // CAFFE_HYPERCOLUMN_INNER_PRODUCT_FORWARD_HPP_
