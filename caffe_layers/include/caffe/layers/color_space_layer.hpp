#ifndef CAFFE_COLOR_SPACE_LAYER_HPP_
#define CAFFE_COLOR_SPACE_LAYER_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/layers/layer_checks.hpp"
#include "caffe/proto/caffe.pb.h"
#include "caffe/util/color_conversion.hpp"

namespace caffe {

/**
 * @brief Splits colour images into lightness and two colour channels (section 3.1).
 *
 * @param bottom input Blob vector (length 1)
 *   -# @f$ (N \times 3 \times H \times W) @f$ blue, green and red in [0, 1]
 * @param top output Blob vector (length 2)
 *   -# @f$ (N \times 1 \times H \times W) @f$ lightness (R + G + B) / 3
 *   -# @f$ (N \times 2 \times H \times W) @f$ hue in [0, 1) and chroma in [0, 1]; or a and b of
 *      CIELAB (D65); or alpha and beta of Eq. 9
 *
 * Data preparation: there is no backward pass.
 */
template <typename Dtype>
class ColorSpaceLayer : public NamedBlobCounts<Layer, Dtype> {
 public:
  explicit ColorSpaceLayer(const LayerParameter& param) : NamedBlobCounts<Layer, Dtype>(param) {}
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top);

  virtual inline const char* type() const { return "ColorSpace"; }
  virtual inline int ExactNumBottomBlobs() const { return 1; }
  virtual inline int ExactNumTopBlobs() const { return 2; }
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

  /// What both devices do forward: a thread takes a pixel.
  template <typename Device>
  void Split(const Blob<Dtype>& images, const vector<Blob<Dtype>*>& top) const {
    switch (this->layer_param_.color_space_param().color_space()) {
      case ColorSpaceParameter_ColorSpace_HUE_CHROMA:
        Split<Device, HueChroma<Dtype> >(images, top);
        break;
      case ColorSpaceParameter_ColorSpace_LAB:
        Split<Device, LabColor<Dtype> >(images, top);
        break;
      case ColorSpaceParameter_ColorSpace_ALPHA_BETA:
        Split<Device, AlphaBeta<Dtype> >(images, top);
        break;
    }
  }
  template <typename Device, typename Convert>
  void Split(const Blob<Dtype>& images, const vector<Blob<Dtype>*>& top) const {
    const int plane = images.shape(2) * images.shape(3);
    const SplitColor<Dtype, Convert> split = {
        plane, Device::Data(images), Device::MutableData(top[0]), Device::MutableData(top[1])};
    Device::Run(static_cast<int64_t>(images.shape(0)) * plane, split);
  }
};

}  // namespace caffe

#endif  // CAFFE_COLOR_SPACE_LAYER_HPP_
