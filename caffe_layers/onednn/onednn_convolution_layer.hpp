#ifndef CAFFE_ONEDNN_CONVOLUTION_LAYER_HPP_
#define CAFFE_ONEDNN_CONVOLUTION_LAYER_HPP_

#include <memory>
#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layers/conv_layer.hpp"
#include "caffe/proto/caffe.pb.h"
#include "onednn/convolution_choice.hpp"
#include "onednn/winograd.hpp"

namespace caffe {

/**
 * @brief Convolution by fast kernels, a drop-in for ConvolutionLayer<float> on the CPU.
 *
 * @param bottom input Blob vector
 *   -# … @f$ (N \times C \times H \times W) @f$ maps; several bottoms share the weights
 * @param top output Blob vector (as many)
 *   -# … @f$ (N \times num\_output \times H' \times W') @f$ the convolution, rectified if
 *      convolution_param.fuse_relu says so; then the backward pass rectifies the gradient to `top`
 *      in place, as an in-place ReLU does
 *
 * Blobs, gradients and what a pass overwrites or adds to are those of ConvolutionLayer. Blobs stay
 * plain (N, C, H, W), for other layers read them.
 *
 * Kernels of 3 x 3 with stride 1 run by Winograd's algorithm (class Winograd) where that is faster,
 * which a table of measurements says for each pass (convolution_choice.hpp). The others run on
 * oneDNN's kernels; a pass then copies maps from and to oneDNN's layouts. The memory for either is
 * shared by all layers of a thread.
 *
 * Weights that the net learns are transformed, or copied to oneDNN's layout, in every pass. Others
 * (of a TEST net, or of learning rate 0) are kept so for as long as a hash of their bits stays the
 * same, so that whoever changes them need not tell; but where they are far larger than the maps,
 * they are multiplied as they are with the columns of the map.
 *
 * ConvolutionLayer itself runs what there is no fast kernel for, other than two spatial axes, and
 * layers whose weights are learnt from so few outputs that copying them would cost more than it
 * saves. The log says which kernel runs.
 */
class OneDnnConvolutionLayer : public ConvolutionLayer<float> {
 public:
  /// What may run; all but kFastest are for tests and measurements.
  enum Algorithms { kFastest, kWinograd, kAllButWinograd };

  explicit OneDnnConvolutionLayer(const LayerParameter& param, Algorithms allowed = kFastest);
  virtual ~OneDnnConvolutionLayer();

  /// The kernel of the last forward pass: "winograd, " and the instructions, oneDNN's name of its
  /// own, "product" if it was a product of the plain weights with the columns of the map, "stock"
  /// if ConvolutionLayer ran.
  const char* kernel() const;

 protected:
  virtual void Forward_cpu(const vector<Blob<float>*>& bottom, const vector<Blob<float>*>& top);
  virtual void Backward_cpu(const vector<Blob<float>*>& top, const vector<bool>& propagate_down,
                            const vector<Blob<float>*>& bottom);
  virtual void Forward_gpu(const vector<Blob<float>*>& bottom, const vector<Blob<float>*>& top);

 private:
  enum Engine { kStockEngine, kProductEngine, kOneDnnEngine, kWinogradEngine };
  struct Problem;  // they keep oneDNN's headers out of this one
  struct ForwardKernel;
  struct BackwardKernels;
  struct KeptWeights;
  struct Workspace;

  /// Choose engines and make kernels for the bottoms' size, if they are for another.
  void Prepare(const Blob<float>& bottom, const Blob<float>& top);
  Engine ChooseForward(const Blob<float>& top) const;
  /// Make oneDNN's kernels of the backward pass, if that has not been tried, and choose engines.
  void PrepareBackward();
  /// Whether a pass runs by Winograd's algorithm.
  bool UsesWinograd(ConvolutionPass pass) const;
  Winograd::Shape WinogradShape() const;
  bool LearnsWeights() const;
  bool Rectifies() const { return layer_param_.convolution_param().fuse_relu(); }
  const float* bias() const { return bias_term_ ? blobs_[1]->cpu_data() : nullptr; }

  void ForwardByStock(const vector<Blob<float>*>& bottom, const vector<Blob<float>*>& top);
  void ForwardByProduct(const Blob<float>& bottom, Blob<float>* top);
  void ForwardByOneDnn(const vector<Blob<float>*>& bottom, const vector<Blob<float>*>& top);
  void ForwardByWinograd(const vector<Blob<float>*>& bottom, const vector<Blob<float>*>& top);
  void BackwardToWeights(const Blob<float>& top, const Blob<float>& bottom);
  void BackwardToBias(const Blob<float>& top);
  void BackwardToBottom(const Blob<float>& top, Blob<float>* bottom);

  const Algorithms allowed_;
  vector<int> shape_;  // of the bottoms that the engines and kernels are for
  Engine forward_engine_ = kStockEngine;
  Engine to_weights_ = kStockEngine, to_bottom_ = kStockEngine;
  std::unique_ptr<Problem> problem_;           // none where the axes are other than two
  std::unique_ptr<ForwardKernel> forward_;     // none where oneDNN does not run
  std::unique_ptr<BackwardKernels> backward_;  // likewise
  bool has_backward_ = false;                  // whether that has been prepared
  std::unique_ptr<KeptWeights> kept_weights_;
  std::shared_ptr<Workspace> workspace_;  // keeps what the layers of a thread share
};

}  // namespace caffe

#endif  // CAFFE_ONEDNN_CONVOLUTION_LAYER_HPP_
