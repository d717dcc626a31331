#include "caffe/layers/inner_product_weights_layer.hpp"

#include <climits>
#include <vector>

#include "caffe/filler.hpp"

namespace caffe {

template <typename Dtype>
void InnerProductWeightsLayer<Dtype>::LayerSetUp(const vector<Blob<Dtype>*>&,
                                                 const vector<Blob<Dtype>*>&) {
  const InnerProductWeightsParameter& param = this->layer_param_.inner_product_weights_param();
  const string& name = this->layer_param_.name();
  const double weights = static_cast<double>(param.num_output()) * param.num_input();
  CHECK(weights > 0 && weights <= INT_MAX)
      << "layer " << name
      << ": num_output and num_input expected positive numbers with a product of "
      << "at most " << INT_MAX << ", got " << param.num_output() << " and " << param.num_input();
  if (this->blobs_.empty()) {
    const int outputs = param.num_output(), inputs = param.num_input();
    this->blobs_.emplace_back(new Blob<Dtype>(vector<int>{outputs, inputs}));
    this->blobs_.emplace_back(new Blob<Dtype>(vector<int>{outputs}));
    shared_ptr<Filler<Dtype> > weight_filler(GetFiller<Dtype>(param.weight_filler()));
    weight_filler->Fill(this->blobs_[0].get());
    shared_ptr<Filler<Dtype> > bias_filler(GetFiller<Dtype>(param.bias_filler()));
    bias_filler->Fill(this->blobs_[1].get());
  }
  this->param_propagate_down_.assign(2, true);
}

template <typename Dtype>
void InnerProductWeightsLayer<Dtype>::Reshape(const vector<Blob<Dtype>*>&,
                                              const vector<Blob<Dtype>*>& top) {
  for (int i = 0; i < 2; ++i) {
    top[i]->ReshapeLike(*this->blobs_[i]);
    top[i]->ShareData(*this->blobs_[i]);
    top[i]->ShareDiff(*this->blobs_[i]);
  }
}

INSTANTIATE_CLASS(InnerProductWeightsLayer);
REGISTER_LAYER_CLASS(InnerProductWeights);

}  // namespace caffe
