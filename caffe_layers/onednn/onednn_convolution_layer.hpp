#ifndef CAFFE_ONEDNN_CONVOLUTION_LAYER_HPP_
#define CAFFE_ONEDNN_CONVOLUTION_LAYER_HPP_

#include <memory>
#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layers/conv_layer.hpp"
#include "caffe/proto/caffe.pb.h"

namespace caffe {

/**
 * @brief Convolution by oneDNN's kernels, a drop-in for ConvolutionLayer<float> on the CPU.
 *
 * @param bottom input Blob vector
 *   -# … @f$ (N \times C \times H \times W) @f$ maps; several bottoms share the weights
 * @param top output Blob vector (as many)
 *   -# … @f$ (N \times num\_output \times H' \times W') @f$ the convolution, rectified if
 *      convolution_param.fuse_relu says so; then the backward pass rectifies the gradient to `top`
 *      in place, as an in-place ReLU does
 *
 * Blobs, gradients and what a pass overwrites or adds to are those of ConvolutionLayer. Blobs stay
 * plain (N, C, H, W), for other layers read them: a pass copies maps from and to oneDNN's layouts,
 * in memory that all layers of a thread share.
 *
 * Weights that the net learns are copied to oneDNN's layout in every pass. Others (of a TEST net,
 * or of learning rate 0) are kept in it for as long as a hash of their bits stays the same, so that
 * whoever changes them need not tell; but where they are far larger than the maps, they
 * are multiplied as they are with the columns of the map.
 *
 * ConvolutionLayer itself runs what oneDNN has no fast kernel for, other than two spatial axes, and
 * layers whose weights are learnt from so few outputs that copying them would cost more than it
 * saves. The log says which kernel runs.
 */
class OneDnnConvolutionLayer : public ConvolutionLayer<float> {
 public:
  explicit OneDnnConvolutionLayer(const LayerParameter& param);
  virtual ~OneDnnConvolutionLayer();

  /// oneDNN's name of the kernel of the last forward pass; "product" if it was a product of the
  /// plain weights with the columns of the map, "stock" if ConvolutionLayer ran.
  const char* kernel() const;

 protected:
  virtual void Forward_cpu(const vector<Blob<float>*>& bottom, const vector<Blob<float>*>& top);
  virtual void Backward_cpu(const vector<Blob<float>*>& top, const vector<bool>& propagate_down,
                            const vector<Blob<float>*>& bottom);
  virtual void Forward_gpu(const vector<Blob<float>*>& bottom, const vector<Blob<float>*>& top);

 private:
  struct ForwardKernel;  // they keep oneDNN's headers out of this one
  struct BackwardKernels;
  struct KeptWeights;

  /// Make the kernels for the bottoms' size, if they are for another.
  void Prepare(const Blob<float>& bottom, const Blob<float>& top);
  bool LearnsWeights() const;
  void ForwardByProduct(const Blob<float>& bottom, Blob<float>* top);

  vector<int> shape_;                          // of the bottoms that the kernels are for
  bool by_product_ = false;                    // forward, by a product of the plain weights
  std::unique_ptr<ForwardKernel> forward_;     // none where that, or ConvolutionLayer, runs
  std::unique_ptr<BackwardKernels> backward_;  // likewise; made by the first backward pass
  bool has_backward_ = false;                  // whether that has been tried
  std::unique_ptr<KeptWeights> kept_weights_;
};

}  // namespace caffe

#endif  // CAFFE_ONEDNN_CONVOLUTION_LAYER_HPP_
