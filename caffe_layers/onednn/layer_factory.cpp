// Caffe's own layer_factory.cpp, and then other creators in the place of some of its own. Being one
// file decides the order in which both run.
#include "caffe/layer_factory.cpp"

#include "onednn/onednn_convolution_layer.hpp"
#include "onednn/threaded_layers.hpp"

namespace caffe {

namespace {

void CheckHasNoFusedReLU(const LayerParameter& param, const char* engine) {
  CHECK(!param.convolution_param().fuse_relu())
      << "layer " << param.name() << ": fuse_relu expected engine ONEDNN, got " << engine;
}

shared_ptr<Layer<float> > CreateConvolution(const LayerParameter& param) {
  const ConvolutionParameter::Engine engine = param.convolution_param().engine();
  if (engine == ConvolutionParameter::DEFAULT || engine == ConvolutionParameter::ONEDNN) {
    const bool any = engine == ConvolutionParameter::DEFAULT;
    return shared_ptr<Layer<float> >(new OneDnnConvolutionLayer(
        param, any ? OneDnnConvolutionLayer::kFastest : OneDnnConvolutionLayer::kAllButWinograd));
  }
  CheckHasNoFusedReLU(param, ConvolutionParameter::Engine_Name(engine).c_str());
  return GetConvolutionLayer<float>(param);
}

shared_ptr<Layer<double> > CreateDoubleConvolution(const LayerParameter& param) {
  CheckHasNoFusedReLU(param, "CAFFE, the only one in double");
  if (param.convolution_param().engine() != ConvolutionParameter::ONEDNN) {
    return GetConvolutionLayer<double>(param);
  }
  LOG(WARNING) << "layer " << param.name()
               << ": oneDNN computes in float; in double, engine CAFFE runs";
  LayerParameter stock = param;
  stock.mutable_convolution_param()->set_engine(ConvolutionParameter::CAFFE);
  return GetConvolutionLayer<double>(stock);
}

template <typename Dtype>
shared_ptr<Layer<Dtype> > CreatePooling(const LayerParameter& param) {
  if (param.pooling_param().engine() == PoolingParameter::DEFAULT) {
    return shared_ptr<Layer<Dtype> >(new ThreadedPoolingLayer<Dtype>(param));
  }
  return GetPoolingLayer<Dtype>(param);
}

template <typename Dtype>
shared_ptr<Layer<Dtype> > CreateReLU(const LayerParameter& param) {
  if (param.relu_param().engine() == ReLUParameter::DEFAULT) {
    return shared_ptr<Layer<Dtype> >(new ThreadedReLULayer<Dtype>(param));
  }
  return GetReLULayer<Dtype>(param);
}

template <typename Dtype>
void Replace(shared_ptr<Layer<Dtype> > (*create_convolution)(const LayerParameter&)) {
  typename LayerRegistry<Dtype>::CreatorRegistry& registry = LayerRegistry<Dtype>::Registry();
  registry["Convolution"] = create_convolution;
  registry["Pooling"] = CreatePooling<Dtype>;
  registry["ReLU"] = CreateReLU<Dtype>;
}

const bool replaced = [] {
  Replace<float>(CreateConvolution);
  Replace<double>(CreateDoubleConvolution);
  return true;
}();

}  // namespace

}  // namespace caffe
