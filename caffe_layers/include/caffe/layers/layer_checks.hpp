#ifndef CAFFE_LAYERS_LAYER_CHECKS_HPP_
#define CAFFE_LAYERS_LAYER_CHECKS_HPP_

#include <string>
#include <vector>

#include "caffe/layer.hpp"

namespace caffe {

/// Checks one number of blobs; -1 stands for "no such limit".
inline void CheckCount(const std::string& layer, const char* what, int count, int exact, int min,
                       int max) {
  CHECK(exact < 0 || count == exact)
      << "layer " << layer << ": expected " << exact << " " << what << ", got " << count;
  CHECK(min < 0 || count >= min) << "layer " << layer << ": expected at least " << min << " "
                                 << what << ", got " << count;
  CHECK(max < 0 || count <= max) << "layer " << layer << ": expected at most " << max << " " << what
                                 << ", got " << count;
}

/// `Base`, which is Layer or a layer of Caffe's, with checks of the numbers of blobs whose messages
/// name the layer and not only its type.
template <template <typename> class Base, typename Dtype>
class NamedBlobCounts : public Base<Dtype> {
 public:
  explicit NamedBlobCounts(const LayerParameter& param) : Base<Dtype>(param) {}

 protected:
  virtual void CheckBlobCounts(const vector<Blob<Dtype>*>& bottom,
                               const vector<Blob<Dtype>*>& top) {
    const std::string& name = this->layer_param_.name();
    CheckCount(name, "bottoms", static_cast<int>(bottom.size()), this->ExactNumBottomBlobs(),
               this->MinBottomBlobs(), this->MaxBottomBlobs());
    CheckCount(name, "tops", static_cast<int>(top.size()), this->ExactNumTopBlobs(),
               this->MinTopBlobs(), this->MaxTopBlobs());
  }
};

/// Whether the gradient of bottom `index` is asked for; an empty `propagate_down` asks for none.
inline bool Propagates(const std::vector<bool>& propagate_down, size_t index) {
  return index < propagate_down.size() && propagate_down[index];
}

/// Ends the run where the gradient of bottom `index`, which has none, is asked for.
template <typename Dtype>
void RejectGradient(const Layer<Dtype>& layer, const std::vector<bool>& propagate_down,
                    size_t index, const char* reason) {
  CHECK(!Propagates(propagate_down, index))
      << "layer " << layer.layer_param().name() << ": propagate_down of bottom " << index
      << " expected false, got true: " << reason;
}

}  // namespace caffe

#endif  // CAFFE_LAYERS_LAYER_CHECKS_HPP_
