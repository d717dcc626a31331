#include "caffe/layers/color_histogram_layer.hpp"

#include <boost/math/special_functions/erf.hpp>
#include <climits>
#include <cmath>
#include <vector>

#include "caffe/util/parallel_for.hpp"

namespace caffe {

template <typename Dtype>
void ColorHistogramLayer<Dtype>::LayerSetUp(const vector<Blob<Dtype>*>&,
                                            const vector<Blob<Dtype>*>&) {
  const ColorHistogramParameter& param = this->layer_param_.color_histogram_param();
  const string& name = this->layer_param_.name();
  joint_ = param.joint();
  const int max_bins = joint_ ? 46340 : INT_MAX;  // the root of INT_MAX, for bins * bins
  CHECK(param.bins() > 0 && param.bins() <= static_cast<uint32_t>(max_bins))
      << "layer " << name << ": bins expected 1 to " << max_bins << ", got " << param.bins();
  CHECK(param.region() > 0 && param.region() <= INT_MAX)
      << "layer " << name << ": region expected 1 to " << INT_MAX << ", got " << param.region();
  bins_ = param.bins();
  region_ = param.region();
  edges_.Resize(bins_ - 1);
  Dtype* edges = edges_.mutable_cpu_data();
  if (param.binning() == ColorHistogramParameter_Binning_UNIFORM) {
    CHECK(std::isfinite(param.minimum()) && std::isfinite(param.maximum()) &&
          param.minimum() < param.maximum())
        << "layer " << name << ": minimum and maximum expected finite numbers in this order, got "
        << param.minimum() << " and " << param.maximum();
    for (int k = 1; k < bins_; ++k) {
      edges[k - 1] =
          param.minimum() + (static_cast<double>(param.maximum()) - param.minimum()) * k / bins_;
    }
  } else {
    CHECK(std::isfinite(param.sigma()) && param.sigma() > 0)
        << "layer " << name << ": sigma expected a positive number, got " << param.sigma();
    for (int k = 1; k < bins_; ++k) {
      edges[k - 1] = param.sigma() * std::sqrt(2.0) * boost::math::erf_inv(2.0 * k / bins_ - 1);
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
  rows_.Reshape(*bottom[1], bottom[0]->shape(0), "colour", name);
  const int cells = joint_ ? bins_ * bins_ : bins_;
  CHECK_LE(static_cast<double>(cells) * rows_.count(), INT_MAX)
      << "layer " << name << ": expected at most " << INT_MAX << " values, got " << rows_.count()
      << " histograms of " << cells << " bins";
  top[0]->Reshape(vector<int>{rows_.count(), cells});
}

template <typename Dtype>
void ColorHistogramLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
                                             const vector<Blob<Dtype>*>& top) {
  ForwardOn<OnCPU>(bottom, top);
}

template <typename Dtype>
void ColorHistogramLayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>&,
                                              const vector<bool>& propagate_down,
                                              const vector<Blob<Dtype>*>&) {
  for (int i = 0; i < 2; ++i) {
    RejectGradient(*this, propagate_down, i, "ColorHistogram prepares data and has no gradient");
  }
}

#ifdef CPU_ONLY
STUB_GPU_FORWARD(ColorHistogramLayer, Forward);
#endif

INSTANTIATE_CLASS(ColorHistogramLayer);
REGISTER_LAYER_CLASS(ColorHistogram);

}  // namespace caffe
