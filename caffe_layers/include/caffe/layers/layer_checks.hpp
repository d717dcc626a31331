#ifndef CAFFE_LAYERS_LAYER_CHECKS_HPP_
#define CAFFE_LAYERS_LAYER_CHECKS_HPP_

#include <vector>

#include "caffe/layer.hpp"

namespace caffe {

/// Checks one number of blobs; -1 stands for "no such limit".
inline void CheckCount(const std::string& layer, const char* what, int count, int exact, int least,
                       int most) {
  CHECK(exact < 0 || count == exact)
      << "layer " << layer << ": expected " << exact << " " << what << ", got " << count;
  CHECK(least < 0 || count >= least)
      << "layer " << layer << ": expected at least " << least << " " << what << ", got " << count;
  CHECK(most < 0 || count <= most)
      << "layer " << layer << ": expected at most " << most << " " << what << ", got " << count;
}

/// What Layer::CheckBlobCounts checks, with messages that name the layer and not only its type.
template <typename Dtype>
void CheckNamedBlobCounts(const Layer<Dtype>& layer, const vector<Blob<Dtype>*>& bottom,
                          const vector<Blob<Dtype>*>& top) {
  const std::string& name = layer.layer_param().name();
  CheckCount(name, "bottoms", static_cast<int>(bottom.size()), layer.ExactNumBottomBlobs(),
             layer.MinBottomBlobs(), layer.MaxBottomBlobs());
  CheckCount(name, "tops", static_cast<int>(top.size()), layer.ExactNumTopBlobs(),
             layer.MinTopBlobs(), layer.MaxTopBlobs());
}

/// Whether the gradient of bottom `index` is asked for; an empty `propagate_down` asks for none.
inline bool Propagates(const std::vector<bool>& propagate_down, size_t index) {
  return index < propagate_down.size() && propagate_down[index];
}

}  // namespace caffe

#endif  // CAFFE_LAYERS_LAYER_CHECKS_HPP_
