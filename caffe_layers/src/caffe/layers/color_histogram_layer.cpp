#include "caffe/layers/color_histogram_layer.hpp"

#include <algorithm>
#include <boost/math/special_functions/erf.hpp>
#include <climits>
#include <cmath>
#include <vector>

#include "caffe/util/math_functions.hpp"

namespace caffe {

namespace {

// The nearest pixel along one axis, clamped; NaN takes the first branch.
template <typename Dtype>
int NearestPixel(Dtype coordinate, int size) {
  const Dtype rounded = std::floor(coordinate + Dtype(0.5));
  if (!(rounded > 0)) {
    return 0;
  }
  return rounded < size - 1 ? static_cast<int>(rounded) : size - 1;
}

}  // namespace

template <typename Dtype>
void ColorHistogramLayer<Dtype>::LayerSetUp(const vector<Blob<Dtype>*>&,
                                            const vector<Blob<Dtype>*>&) {
  const ColorHistogramParameter& param = this->layer_param_.color_histogram_param();
  const string& name = this->layer_param_.name();
  joint_ = param.joint();
  CHECK(param.bins() > 0 && (joint_ ? double(param.bins()) * param.bins() : param.bins()) <= INT_MAX)
      << "layer " << name << ": bins expected a positive number, got " << param.bins();
  CHECK(param.region() > 0 && param.region() <= INT_MAX)
      << "layer " << name << ": region expected a positive number, got " << param.region();
  bins_ = param.bins();
  region_ = param.region();
  edges_.clear();
  if (param.binning() == ColorHistogramParameter_Binning_UNIFORM) {
    CHECK(std::isfinite(param.minimum()) && std::isfinite(param.maximum()) &&
          param.minimum() < param.maximum())
        << "layer " << name << ": expected minimum < maximum, got " << param.minimum() << " and "
        << param.maximum();
    for (int k = 1; k < bins_; ++k) {
      edges_.push_back(param.minimum() + (double(param.maximum()) - param.minimum()) * k / bins_);
    }
  } else {
    CHECK(std::isfinite(param.sigma()) && param.sigma() > 0)
        << "layer " << name << ": sigma expected a positive number, got " << param.sigma();
    for (int k = 1; k < bins_; ++k) {
      edges_.push_back(param.sigma() * std::sqrt(2.0) *
                       boost::math::erf_inv(2.0 * k / bins_ - 1));
    }
  }
}

template <typename Dtype>
void ColorHistogramLayer<Dtype>::Reshape(const vector<Blob<Dtype>*>& bottom,
                                         const vector<Blob<Dtype>*>& top) {
  const string& name = this->layer_param_.name();
  const int channels = joint_ ? 2 : 1;
  CHECK(bottom[0]->num_axes() == 4 && bottom[0]->shape(1) == channels && bottom[0]->count() > 0)
      << "layer " << name << ": colour expected shape (N, " << channels << ", H, W), got "
      << bottom[0]->shape_string();
  CHECK(bottom[1]->num_axes() == 3 && bottom[1]->shape(2) == 2)
      << "layer " << name << ": locations expected shape (N, P, 2), got "
      << bottom[1]->shape_string();
  CHECK_EQ(bottom[0]->shape(0), bottom[1]->shape(0))
      << "layer " << name << ": colour and locations expected the same batch size";
  top[0]->Reshape(vector<int>{bottom[1]->shape(0) * bottom[1]->shape(1),
                              joint_ ? bins_ * bins_ : bins_});
}

template <typename Dtype>
int ColorHistogramLayer<Dtype>::BinOf(Dtype value) const {
  // Not above the first edge that is larger; NaN compares false and falls into the first bin.
  int bin = 0;
  int count = static_cast<int>(edges_.size());
  while (count > 0) {
    const int half = count / 2;
    if (value >= edges_[bin + half]) {
      bin += half + 1;
      count -= half + 1;
    } else {
      count = half;
    }
  }
  return bin;
}

template <typename Dtype>
void ColorHistogramLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
                                             const vector<Blob<Dtype>*>& top) {
  const int height = bottom[0]->shape(2), width = bottom[0]->shape(3);
  const size_t plane = static_cast<size_t>(height) * width;
  const int locations = bottom[1]->shape(1);
  const int bins = top[0]->shape(1);
  const Dtype* color = bottom[0]->cpu_data();
  const Dtype* location = bottom[1]->cpu_data();
  Dtype* histograms = top[0]->mutable_cpu_data();
  caffe_set(top[0]->count(), Dtype(0), histograms);
  const int rows = top[0]->shape(0);
  for (int row = 0; row < rows; ++row) {
    const int y = NearestPixel(location[2 * row], height);
    const int x = NearestPixel(location[2 * row + 1], width);
    const int y0 = std::max(0, y - (region_ - 1) / 2);
    const int x0 = std::max(0, x - (region_ - 1) / 2);
    const int y1 = static_cast<int>(std::min<int64_t>(height, int64_t(y) + region_ / 2 + 1));
    const int x1 = static_cast<int>(std::min<int64_t>(width, int64_t(x) + region_ / 2 + 1));
    const Dtype* first = color + (row / locations) * (joint_ ? 2 : 1) * plane;
    Dtype* histogram = histograms + static_cast<size_t>(row) * bins;
    const Dtype share = Dtype(1) / (double(y1 - y0) * (x1 - x0));
    for (int i = y0; i < y1; ++i) {
      for (int j = x0; j < x1; ++j) {
        const size_t pixel = static_cast<size_t>(i) * width + j;
        int bin = BinOf(first[pixel]);
        if (joint_) {
          bin = bin * bins_ + BinOf(first[plane + pixel]);
        }
        histogram[bin] += share;
      }
    }
  }
}

template <typename Dtype>
void ColorHistogramLayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>&,
                                              const vector<bool>& propagate_down,
                                              const vector<Blob<Dtype>*>&) {
  CHECK(!propagate_down[0] && !propagate_down[1])
      << "layer " << this->layer_param_.name()
      << ": ColorHistogram prepares data and has no gradient";
}

#ifdef CPU_ONLY
STUB_GPU_FORWARD(ColorHistogramLayer, Forward);
#endif

INSTANTIATE_CLASS(ColorHistogramLayer);
REGISTER_LAYER_CLASS(ColorHistogram);

}  // namespace caffe
