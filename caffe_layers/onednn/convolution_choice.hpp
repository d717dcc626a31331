#ifndef CAFFE_ONEDNN_CONVOLUTION_CHOICE_HPP_
#define CAFFE_ONEDNN_CONVOLUTION_CHOICE_HPP_

#include "onednn/winograd.hpp"

namespace caffe {

/// The passes of a convolution. A forward pass whose weights are learnt transforms them every time.
enum class ConvolutionPass { kForward, kForwardLearning, kBackwardWeights, kBackwardBottom };

/// Whether Winograd's algorithm was measured to be the faster one for such a convolution, with the
/// instructions that this process uses. The same on every run: the table is in
/// convolution_choice.inc, which tools/bench writes.
bool WinogradIsFaster(ConvolutionPass pass, const Winograd::Shape& shape);

}  // namespace caffe

#endif  // CAFFE_ONEDNN_CONVOLUTION_CHOICE_HPP_
