#ifndef CAFFE_COLOR_HISTOGRAM_LAYER_HPP_
#define CAFFE_COLOR_HISTOGRAM_LAYER_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/layers/layer_checks.hpp"
#include "caffe/layers/location_rows.hpp"
#include "caffe/proto/caffe.pb.h"
#include "caffe/util/color_histogram.hpp"
#include "caffe/util/synced_array.hpp"

namespace caffe {

/**
 * @brief Target histograms: the empirical distribution of colour around each location
 * (section 3.2).
 *
 * @param bottom input Blob vector (length 2)
 *   -# @f$ (N \times c \times H \times W) @f$ colour; c = 1, or c = 2 for a joint histogram
 *   -# @f$ (N \times P \times 2) @f$ locations (y, x), or @f$ (M \times 3) @f$ rows (image, y, x),
 * in pixels; rounded to the nearest pixel and clamped to the image (NaN to 0)
 * @param top output Blob vector (length 1)
 *   -# @f$ (N P \times K) @f$ or @f$ (M \times K) @f$ histograms that sum to 1; K = bins, or bins *
 *      bins for a joint histogram, with index (bin of channel 0) * bins + (bin of channel 1)
 *
 * The window of side `region` starts (region - 1) / 2 pixels (rounded down) before the pixel and is
 * clipped at the borders; with region 1 the histogram is one-hot. Values outside the binned range
 * fall into the first or last bin. NaN marks a pixel without a colour and is not counted: a window
 * of nothing else gives zeros, which the loss ignores. Data preparation: there is no backward pass.
 */
template <typename Dtype>
class ColorHistogramLayer : public NamedBlobCounts<Layer, Dtype> {
 public:
  explicit ColorHistogramLayer(const LayerParameter& param)
      : NamedBlobCounts<Layer, Dtype>(param) {}
  virtual void LayerSetUp(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top);
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top);

  virtual inline const char* type() const { return "ColorHistogram"; }
  virtual inline int ExactNumBottomBlobs() const { return 2; }
  virtual inline int ExactNumTopBlobs() const { return 1; }
  virtual inline bool AllowForceBackward(const int) const { return false; }

 protected:
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top);
  virtual void Forward_gpu(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top);
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom);
  virtual void Backward_gpu(const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom) {
    Backward_cpu(top, propagate_down, bottom);  // rejects: there is nothing to compute
  }

  /// What both devices do: a thread takes a location and owns its histogram.
  template <typename Device>
  void ForwardOn(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) {
    rows_.Read(*bottom[1], this->layer_param_.name());
    const WindowHistogram<Dtype> histogram = {bottom[0]->shape(2),
                                              bottom[0]->shape(3),
                                              rows_.template Rows<Device>(),
                                              bins_,
                                              joint_,
                                              region_,
                                              Device::Data(edges_),
                                              Device::Data(*bottom[0]),
                                              {Device::Data(*bottom[1]), rows_.columns()},
                                              Device::MutableData(top[0])};
    Device::Run(rows_.count(), histogram);
  }

  int bins_;
  bool joint_;
  int region_;
  LocationRows<Dtype> rows_;
  SyncedArray<Dtype> edges_;  // the bins - 1 inner edges, ascending
};

}  // namespace caffe

#endif  // CAFFE_COLOR_HISTOGRAM_LAYER_HPP_
