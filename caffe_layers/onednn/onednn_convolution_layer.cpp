#include "onednn/onednn_convolution_layer.hpp"

#include <algorithm>
#include <cstring>
#include <dnnl.hpp>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "caffe/util/im2col.hpp"
#include "caffe/util/parallel_for.hpp"
#include "caffe/util/strided_gemm.hpp"
#include "onednn/value_hash.hpp"

namespace caffe {

namespace {

using dnnl::memory;

// With fewer outputs a channel, or fewer channels, Winograd's algorithm is not faster than the
// direct one: it transforms the weights anew in every pass (measured with AVX-512, for which alone
// oneDNN has it).
const int kWinogradOutputs = 1024;
const int kWinogradChannels = 16;

// With fewer outputs a channel, copying weights that change with every pass to oneDNN's layout and
// back takes longer than its kernels save.
const int kLearntOutputs = 128;

// With this many times more channels than outputs of each, as fc6 of VGG-16 has them, a product of
// the plain weights with the columns of the map (im2col) is as fast as oneDNN's convolution, and
// needs no copy of weights that are far larger than the maps.
const int kProductRatio = 8;

const dnnl::engine& Cpu() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

void Execute(const dnnl::primitive& primitive, const std::unordered_map<int, memory>& arguments) {
  dnnl::stream stream(Cpu());
  primitive.execute(stream, arguments);
  stream.wait();
}

memory::desc Floats(const memory::dims& dims, memory::format_tag tag) {
  return memory::desc(dims, memory::data_type::f32, tag);
}

// Memory that grows to the largest request.
class Buffer {
 public:
  memory Get(const memory::desc& layout) {
    if (size_ < layout.get_size()) {
      memory_ = memory();  // free the old one first
      memory_ = memory(layout, Cpu());
      size_ = layout.get_size();
    }
    return memory(layout, Cpu(), memory_.get_data_handle());
  }

 private:
  memory memory_;
  size_t size_ = 0;
};

// An array of a blob in its plain layout, and the layout that a kernel wants it in.
class Operand {
 public:
  Operand() {}
  Operand(const memory::desc& plain, const memory::desc& inner) : plain_(plain), inner_(inner) {}

  const memory::desc& inner() const { return inner_; }
  bool is_plain() const { return plain_ == inner_; }

  /// The values for a kernel to read: the array itself, or a copy in the buffer.
  memory Read(const float* values, Buffer* buffer) const {
    if (is_plain()) {
      return Plain(values);
    }
    const memory copy = buffer->Get(inner_);
    Reorder(Plain(values), copy, dnnl::primitive_attr());
    return copy;
  }

  /// Where a kernel shall write; then call Written.
  memory Target(float* values, Buffer* buffer) const {
    return is_plain() ? Plain(values) : buffer->Get(inner_);
  }
  void Written(const memory& target, float* values) const {
    if (!is_plain()) {
      Reorder(target, Plain(values), dnnl::primitive_attr());
    }
  }

  /// Adds what a kernel wrote to the array.
  void Add(const memory& target, float* values) const {
    dnnl::post_ops sum;
    sum.append_sum(1);
    dnnl::primitive_attr attributes;
    attributes.set_post_ops(sum);
    Reorder(target, Plain(values), attributes);
  }

 private:
  memory Plain(const float* values) const {
    return memory(plain_, Cpu(), const_cast<float*>(values));
  }
  // oneDNN keeps the code of reorders that it has made.
  static void Reorder(const memory& from, const memory& to,
                      const dnnl::primitive_attr& attributes) {
    Execute(dnnl::reorder(dnnl::reorder::primitive_desc(from, to, attributes)),
            {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
  }

  memory::desc plain_, inner_;
};

// Layouts of the maps to try, best first. Maps in blocks of as many channels as a vector register
// holds are copied twice as fast as channels-last ones, which oneDNN itself would choose.
std::vector<memory::format_tag> MapLayouts() {
  const int isa = static_cast<int>(dnnl::get_effective_cpu_isa());
  const auto has = [isa](dnnl::cpu_isa wanted) {
    return (isa & static_cast<int>(wanted)) == static_cast<int>(wanted);
  };
  if (has(dnnl::cpu_isa::avx512_core)) {
    return {memory::format_tag::nChw16c, memory::format_tag::any};
  }
  if (has(dnnl::cpu_isa::sse41)) {
    return {memory::format_tag::nChw8c, memory::format_tag::any};
  }
  return {memory::format_tag::any};
}

// For maps of few channels, such as an image, oneDNN has layouts of its own.
memory::desc Maps(const memory::dims& dims, memory::format_tag layout) {
  return Floats(dims, dims[1] < 8 ? memory::format_tag::any : layout);
}

// Finds the first layout for which `create` gives a kernel that is no slow reference code.
template <typename Descriptor, typename Create>
bool FindKernel(const Create& create, Descriptor* found) {
  for (memory::format_tag layout : MapLayouts()) {
    try {
      *found = create(layout);
    } catch (const dnnl::error& error) {
      if (error.status != dnnl_unimplemented) {
        throw;
      }
      continue;
    }
    if (std::strstr(found->impl_info_str(), "ref") == nullptr) {
      return true;
    }
  }
  return false;
}

memory::dims Dims(const Blob<int>& values, int minus) {
  memory::dims dims;
  for (int i = 0; i < values.count(); ++i) {
    dims.push_back(values.cpu_data()[i] - minus);
  }
  return dims;
}

}  // namespace

// What a pass needs for its own time: one for all layers that run in a thread.
struct OneDnnConvolutionLayer::Workspace {
  Buffer bottom, top, weights, weights_diff, bias_diff;
  Winograd::Workspace winograd;
  Winograd::Buffer transformed;

  const float* Transformed(const Winograd::Shape& shape, const Winograd::Weights& weights) {
    float* values = transformed.Get(Winograd::TransformedWeights(shape));
    Winograd::TransformWeights(shape, weights.values, weights.transposed, values);
    return values;
  }

  static std::shared_ptr<Workspace> OfThisThread() {
    static thread_local std::weak_ptr<Workspace> shared;
    std::shared_ptr<Workspace> workspace = shared.lock();
    if (!workspace) {
      workspace = std::make_shared<Workspace>();
      shared = workspace;
    }
    return workspace;
  }
};

// The convolution of one layer at one size.
struct OneDnnConvolutionLayer::Problem {
  memory::dims bottom, weights, bias, top, strides, dilations, padding;

  /// Of one channel.
  int64_t outputs() const { return top[0] * top[2] * top[3]; }

  /// To try in this order.
  std::vector<dnnl::algorithm> Algorithms() const {
    std::vector<dnnl::algorithm> algorithms = {dnnl::algorithm::convolution_direct};
    if (outputs() >= kWinogradOutputs && std::min(bottom[1], top[1]) >= kWinogradChannels) {
      algorithms.insert(algorithms.begin(), dnnl::algorithm::convolution_winograd);
    }
    return algorithms;
  }

  memory::desc PlainBottom() const { return Floats(bottom, memory::format_tag::nchw); }
  memory::desc PlainTop() const { return Floats(top, memory::format_tag::nchw); }
  memory::desc PlainWeights() const {
    const bool grouped = weights.size() == 5;
    return Floats(weights, grouped ? memory::format_tag::goihw : memory::format_tag::oihw);
  }
  memory::desc AnyWeights() const { return Floats(weights, memory::format_tag::any); }
  /// Of no size where the layer has no bias, which oneDNN takes as that.
  memory::desc Bias() const {
    return bias.empty() ? memory::desc() : Floats(bias, memory::format_tag::x);
  }
};

struct OneDnnConvolutionLayer::ForwardKernel {
  dnnl::convolution_forward kernel;
  const char* name;
  Operand bottom, weights, top;

  static bool Find(const Problem& p, dnnl::algorithm algorithm, bool rectify,
                   dnnl::convolution_forward::primitive_desc* found) {
    // For inference oneDNN's Winograd kernels want weights that were transformed beforehand, which
    // takes as long as ten passes; those for training transform them on the way and are as fast.
    const dnnl::prop_kind kind = dnnl::prop_kind::forward_training;
    dnnl::primitive_attr attributes;
    if (rectify) {
      dnnl::post_ops relu;
      relu.append_eltwise(1, dnnl::algorithm::eltwise_relu, 0, 0);
      attributes.set_post_ops(relu);
    }
    return FindKernel(
        [&](memory::format_tag layout) {
          return dnnl::convolution_forward::primitive_desc(
              {kind, algorithm, Maps(p.bottom, layout), p.AnyWeights(), p.Bias(),
               Maps(p.top, layout), p.strides, p.dilations, p.padding, p.padding},
              attributes, Cpu());
        },
        found);
  }

  // Whether oneDNN has a kernel.
  bool Make(const Problem& problem, dnnl::algorithm algorithm, bool rectify) {
    dnnl::convolution_forward::primitive_desc found;
    if (!Find(problem, algorithm, rectify, &found)) {
      return false;
    }
    kernel = dnnl::convolution_forward(found);
    name = found.impl_info_str();
    bottom = Operand(problem.PlainBottom(), found.src_desc());
    weights = Operand(problem.PlainWeights(), found.weights_desc());
    top = Operand(problem.PlainTop(), found.dst_desc());
    return true;
  }
};

struct OneDnnConvolutionLayer::BackwardKernels {
  dnnl::convolution_backward_data to_bottom;
  Operand bottom_diff, weights, top_diff;
  dnnl::convolution_backward_weights to_weights;
  Operand bottom, weights_diff, top_diff_of_weights;
  memory copied_top_diff;  // of the pass that runs, for both kernels

  // Whether oneDNN has both kernels.
  bool Make(const Problem& p, dnnl::algorithm algorithm) {
    dnnl::convolution_forward::primitive_desc hint;
    dnnl::convolution_backward_data::primitive_desc data;
    dnnl::convolution_backward_weights::primitive_desc weight;
    if (!ForwardKernel::Find(p, algorithm, false, &hint) ||
        !FindKernel(
            [&](memory::format_tag layout) {
              return dnnl::convolution_backward_data::primitive_desc(
                  {algorithm, Maps(p.bottom, layout), p.AnyWeights(), Maps(p.top, layout),
                   p.strides, p.dilations, p.padding, p.padding},
                  Cpu(), hint);
            },
            &data) ||
        !FindKernel(
            [&](memory::format_tag layout) {
              return dnnl::convolution_backward_weights::primitive_desc(
                  {algorithm, Maps(p.bottom, layout), p.AnyWeights(), p.Bias(), Maps(p.top, layout),
                   p.strides, p.dilations, p.padding, p.padding},
                  Cpu(), hint);
            },
            &weight)) {
      return false;
    }
    to_bottom = dnnl::convolution_backward_data(data);
    bottom_diff = Operand(p.PlainBottom(), data.diff_src_desc());
    weights = Operand(p.PlainWeights(), data.weights_desc());
    top_diff = Operand(p.PlainTop(), data.diff_dst_desc());
    to_weights = dnnl::convolution_backward_weights(weight);
    bottom = Operand(p.PlainBottom(), weight.src_desc());
    weights_diff = Operand(p.PlainWeights(), weight.diff_weights_desc());
    top_diff_of_weights = Operand(p.PlainTop(), weight.diff_dst_desc());
    return true;
  }
};

struct OneDnnConvolutionLayer::KeptWeights {
  Buffer buffer;
  memory weights;
  Winograd::Buffer transformed;
  uint64_t hash = 0;

  const memory& Get(const Operand& layout, const Blob<float>& blob) {
    if (HasChanged(blob) || !weights || weights.get_desc() != layout.inner()) {
      transformed.Release();
      has_transformed = false;
      weights = layout.Read(blob.cpu_data(), &buffer);
    }
    return weights;
  }

  const float* GetTransformed(const Winograd::Shape& shape, const Blob<float>& blob) {
    if (HasChanged(blob) || !has_transformed) {
      weights = memory();
      buffer = Buffer();
      float* values = transformed.Get(Winograd::TransformedWeights(shape));
      Winograd::TransformWeights(shape, blob.cpu_data(), false, values);
      has_transformed = true;
    }
    return transformed.Get(0);
  }

 private:
  bool has_transformed = false;

  bool HasChanged(const Blob<float>& blob) {
    const uint64_t now = ValueHash(blob.cpu_data(), blob.count());
    if (now == hash) return false;
    hash = now;
    weights = memory();
    has_transformed = false;
    return true;
  }
};

OneDnnConvolutionLayer::OneDnnConvolutionLayer(const LayerParameter& param, Algorithms allowed)
    : ConvolutionLayer<float>(param), allowed_(allowed), kept_weights_(new KeptWeights) {}

OneDnnConvolutionLayer::~OneDnnConvolutionLayer() {}

const char* OneDnnConvolutionLayer::kernel() const {
  switch (forward_engine_) {
    case kWinogradEngine:
      return Winograd::Name();
    case kOneDnnEngine:
      return forward_->name;
    case kProductEngine:
      return "product";
    default:
      return "stock";
  }
}

bool OneDnnConvolutionLayer::LearnsWeights() const {
  return phase_ == TRAIN && param_propagate_down_[0];
}

Winograd::Shape OneDnnConvolutionLayer::WinogradShape() const {
  return {shape_[0],   channels_,          shape_[2],         shape_[3],
          num_output_, pad_.cpu_data()[0], pad_.cpu_data()[1]};
}

bool OneDnnConvolutionLayer::UsesWinograd(ConvolutionPass pass) const {
  if (!problem_ || allowed_ == kAllButWinograd || group_ > 1 || !Winograd::IsSupported()) {
    return false;
  }
  for (int axis = 0; axis < 2; ++axis) {
    if (kernel_shape_.cpu_data()[axis] != 3 || stride_.cpu_data()[axis] != 1 ||
        dilation_.cpu_data()[axis] != 1) {
      return false;
    }
  }
  return allowed_ == kWinograd || WinogradIsFaster(pass, WinogradShape());
}

OneDnnConvolutionLayer::Engine OneDnnConvolutionLayer::ChooseForward(const Blob<float>& top) const {
  if (num_spatial_axes_ == 2 && group_ == 1 && !LearnsWeights() &&
      num_output_ >= kProductRatio * int64_t(top.shape(0)) * top.count(2) &&
      allowed_ != kWinograd) {
    return kProductEngine;
  }
  if (UsesWinograd(LearnsWeights() ? ConvolutionPass::kForwardLearning
                                   : ConvolutionPass::kForward)) {
    return kWinogradEngine;
  }
  return problem_ && (!LearnsWeights() || problem_->outputs() >= kLearntOutputs) ? kOneDnnEngine
                                                                                 : kStockEngine;
}

void OneDnnConvolutionLayer::Prepare(const Blob<float>& bottom, const Blob<float>& top) {
  if (shape_ == bottom.shape()) {
    return;
  }
  const std::string last = shape_.empty() ? "" : kernel();
  shape_ = bottom.shape();
  problem_.reset();
  forward_.reset();
  backward_.reset();
  has_backward_ = false;
  if (num_spatial_axes_ == 2 && bottom.num_axes() == 4 && bottom.count() > 0) {
    problem_.reset(new Problem);
    problem_->bottom.assign(bottom.shape().begin(), bottom.shape().end());
    problem_->top.assign(top.shape().begin(), top.shape().end());
    problem_->weights.assign(blobs_[0]->shape().begin(), blobs_[0]->shape().end());
    if (group_ > 1) {
      problem_->weights[0] /= group_;
      problem_->weights.insert(problem_->weights.begin(), group_);
    }
    if (bias_term_) {
      problem_->bias = {num_output_};
    }
    problem_->strides = Dims(stride_, 0);
    problem_->dilations = Dims(dilation_, 1);  // oneDNN counts the cells between the taps
    problem_->padding = Dims(pad_, 0);
  }
  forward_engine_ = ChooseForward(top);
  if (forward_engine_ == kOneDnnEngine) {
    forward_.reset(new ForwardKernel);
    bool made = false;
    for (dnnl::algorithm algorithm : problem_->Algorithms()) {
      made = made || forward_->Make(*problem_, algorithm, Rectifies());
    }
    if (!made) {
      forward_.reset();
      forward_engine_ = kStockEngine;
    }
  }
  if (kernel() != last) {
    LOG(INFO) << "layer " << layer_param_.name() << ": convolution by "
              << (forward_engine_ == kStockEngine    ? "the stock engine"
                  : forward_engine_ == kOneDnnEngine ? std::string("oneDNN, ") + kernel()
                                                     : kernel());
  }
}

void OneDnnConvolutionLayer::PrepareBackward() {
  if (has_backward_) {
    return;
  }
  has_backward_ = true;
  to_weights_ = to_bottom_ = kStockEngine;
  if (UsesWinograd(ConvolutionPass::kBackwardWeights)) to_weights_ = kWinogradEngine;
  if (UsesWinograd(ConvolutionPass::kBackwardBottom)) to_bottom_ = kWinogradEngine;
  const bool is_complete = to_weights_ != kStockEngine && to_bottom_ != kStockEngine;
  if (!is_complete && problem_ && forward_engine_ != kStockEngine &&
      forward_engine_ != kProductEngine &&
      (!LearnsWeights() || problem_->outputs() >= kLearntOutputs)) {
    backward_.reset(new BackwardKernels);
    bool made = false;
    for (dnnl::algorithm algorithm : problem_->Algorithms()) {
      made = made || backward_->Make(*problem_, algorithm);
    }
    if (made) {
      if (to_weights_ == kStockEngine) to_weights_ = kOneDnnEngine;
      if (to_bottom_ == kStockEngine) to_bottom_ = kOneDnnEngine;
    } else {
      backward_.reset();
    }
  }
  if (to_weights_ == kStockEngine || to_bottom_ == kStockEngine) {
    LOG(INFO) << "layer " << layer_param_.name() << ": backward pass by the stock engine";
  }
}

void OneDnnConvolutionLayer::ForwardByProduct(const Blob<float>& bottom, Blob<float>* top) {
  const int outputs = top->count(2), plane = bottom.count(2), inputs = blobs_[0]->count(1);
  const int* kernel = kernel_shape_.cpu_data();
  const int taps = kernel[0] * kernel[1];
  const bool rectify = Rectifies();
  for (int n = 0; n < bottom.shape(0); ++n) {
    const float* maps = bottom.cpu_data() + static_cast<int64_t>(n) * bottom.count(1);
    float* out = top->mutable_cpu_data() + static_cast<int64_t>(n) * top->count(1);
    const float* columns = maps;
    memory copy;
    if (!is_1x1_) {
      copy = workspace_->bottom.Get(Floats({inputs, outputs}, memory::format_tag::ab));
      float* values = static_cast<float*>(copy.get_data_handle());
      ParallelFor(bottom.shape(1), [&](int64_t c) {
        im2col_cpu(maps + c * plane, 1, bottom.shape(2), bottom.shape(3), kernel[0], kernel[1],
                   pad_.cpu_data()[0], pad_.cpu_data()[1], stride_.cpu_data()[0],
                   stride_.cpu_data()[1], dilation_.cpu_data()[0], dilation_.cpu_data()[1],
                   values + c * taps * outputs);
      });
      columns = values;
    }
    StridedGemm(CblasNoTrans, CblasNoTrans, num_output_, outputs, inputs, 1.f,
                blobs_[0]->cpu_data(), inputs, columns, outputs, 0.f, out, outputs);
    const float* shift = bias();
    ParallelFor(num_output_, [&](int64_t o) {
      for (int i = 0; i < outputs; ++i) {
        const float value = out[o * outputs + i] + (shift ? shift[o] : 0.f);
        out[o * outputs + i] = rectify ? std::max(value, 0.f) : value;
      }
    });
  }
}

void OneDnnConvolutionLayer::ForwardByStock(const vector<Blob<float>*>& bottom,
                                            const vector<Blob<float>*>& top) {
  ConvolutionLayer<float>::Forward_cpu(bottom, top);
  if (Rectifies()) {
    for (Blob<float>* blob : top) {
      float* values = blob->mutable_cpu_data();
      ParallelFor(blob->count(), [=](int64_t i) { values[i] = std::max(values[i], 0.f); });
    }
  }
}

void OneDnnConvolutionLayer::ForwardByOneDnn(const vector<Blob<float>*>& bottom,
                                             const vector<Blob<float>*>& top) {
  const Operand& layout = forward_->weights;
  const memory weights = LearnsWeights() || layout.is_plain()
                             ? layout.Read(blobs_[0]->cpu_data(), &workspace_->weights)
                             : kept_weights_->Get(layout, *blobs_[0]);
  for (size_t i = 0; i < bottom.size(); ++i) {
    float* values = top[i]->mutable_cpu_data();
    const memory target = forward_->top.Target(values, &workspace_->top);
    std::unordered_map<int, memory> arguments = {
        {DNNL_ARG_SRC, forward_->bottom.Read(bottom[i]->cpu_data(), &workspace_->bottom)},
        {DNNL_ARG_WEIGHTS, weights},
        {DNNL_ARG_DST, target}};
    if (bias_term_) {
      arguments[DNNL_ARG_BIAS] = memory(problem_->Bias(), Cpu(), const_cast<float*>(bias()));
    }
    Execute(forward_->kernel, arguments);
    forward_->top.Written(target, values);
  }
}

void OneDnnConvolutionLayer::ForwardByWinograd(const vector<Blob<float>*>& bottom,
                                               const vector<Blob<float>*>& top) {
  const Winograd::Shape shape = WinogradShape();
  Winograd::Weights weights = {blobs_[0]->cpu_data(), false, nullptr};
  if (Winograd::WantsTransformedWeights(shape)) {
    const bool keeps = !LearnsWeights() && Winograd::KeepsTransformedWeights(shape);
    weights.transformed = keeps ? kept_weights_->GetTransformed(shape, *blobs_[0])
                                : workspace_->Transformed(shape, weights);
  }
  for (size_t i = 0; i < bottom.size(); ++i) {
    Winograd::Convolve(shape, bottom[i]->cpu_data(), weights, bias(), Rectifies(),
                       &workspace_->winograd, top[i]->mutable_cpu_data());
  }
}

void OneDnnConvolutionLayer::Forward_cpu(const vector<Blob<float>*>& bottom,
                                         const vector<Blob<float>*>& top) {
  Prepare(*bottom[0], *top[0]);
  workspace_ = Workspace::OfThisThread();
  switch (forward_engine_) {
    case kWinogradEngine:
      ForwardByWinograd(bottom, top);
      break;
    case kOneDnnEngine:
      ForwardByOneDnn(bottom, top);
      break;
    case kProductEngine:
      for (size_t i = 0; i < bottom.size(); ++i) {
        ForwardByProduct(*bottom[i], top[i]);
      }
      break;
    default:
      ForwardByStock(bottom, top);
  }
}

// The gradients to weights and bias add to what is there.
void OneDnnConvolutionLayer::BackwardToWeights(const Blob<float>& top, const Blob<float>& bottom) {
  float* weights_diff = blobs_[0]->mutable_cpu_diff();
  if (to_weights_ == kWinogradEngine) {
    Winograd::AddWeightsGradient(WinogradShape(), bottom.cpu_data(), top.cpu_diff(),
                                 &workspace_->winograd, weights_diff);
  } else if (to_weights_ == kOneDnnEngine) {
    backward_->copied_top_diff =
        backward_->top_diff_of_weights.Read(top.cpu_diff(), &workspace_->top);
    const memory diff = workspace_->weights_diff.Get(backward_->weights_diff.inner());
    std::unordered_map<int, memory> arguments = {
        {DNNL_ARG_SRC, backward_->bottom.Read(bottom.cpu_data(), &workspace_->bottom)},
        {DNNL_ARG_DIFF_DST, backward_->copied_top_diff},
        {DNNL_ARG_DIFF_WEIGHTS, diff}};
    if (bias_term_) {
      arguments[DNNL_ARG_DIFF_BIAS] = workspace_->bias_diff.Get(problem_->Bias());
    }
    Execute(backward_->to_weights, arguments);
    backward_->weights_diff.Add(diff, weights_diff);
    if (bias_term_ && param_propagate_down_[1]) {
      const Operand bias(problem_->Bias(), problem_->Bias());
      bias.Add(arguments[DNNL_ARG_DIFF_BIAS], blobs_[1]->mutable_cpu_diff());
    }
  } else {
    for (int n = 0; n < num_; ++n) {
      weight_cpu_gemm(bottom.cpu_data() + n * bottom_dim_, top.cpu_diff() + n * top_dim_,
                      weights_diff);
    }
  }
}

void OneDnnConvolutionLayer::BackwardToBias(const Blob<float>& top) {
  const float* diff = top.cpu_diff();
  float* sums = blobs_[1]->mutable_cpu_diff();
  const int64_t plane = out_spatial_dim_;
  ParallelFor(num_output_, [=](int64_t o) {
    double sum = 0;
    for (int n = 0; n < num_; ++n) {
      const float* values = diff + (int64_t(n) * num_output_ + o) * plane;
      float parts[16] = {};
      int64_t i = 0;
      for (; i + 16 <= plane; i += 16) {
        for (int k = 0; k < 16; ++k) parts[k] += values[i + k];
      }
      for (; i < plane; ++i) parts[0] += values[i];
      for (float part : parts) sum += part;
    }
    sums[o] += static_cast<float>(sum);
  });
}

void OneDnnConvolutionLayer::BackwardToBottom(const Blob<float>& top, Blob<float>* bottom) {
  float* bottom_diff = bottom->mutable_cpu_diff();
  if (to_bottom_ == kWinogradEngine) {
    const Winograd::Shape shape = WinogradShape().Transposed();
    Winograd::Weights weights = {blobs_[0]->cpu_data(), true, nullptr};
    if (Winograd::WantsTransformedWeights(shape)) {
      weights.transformed = workspace_->Transformed(shape, weights);
    }
    Winograd::Convolve(shape, top.cpu_diff(), weights, nullptr, false, &workspace_->winograd,
                       bottom_diff);
  } else if (to_bottom_ == kOneDnnEngine) {
    memory& copy = backward_->copied_top_diff;
    if (!copy || copy.get_desc() != backward_->top_diff.inner()) {
      copy = backward_->top_diff.Read(top.cpu_diff(), &workspace_->top);
    }
    const memory target = backward_->bottom_diff.Target(bottom_diff, &workspace_->bottom);
    Execute(
        backward_->to_bottom,
        {{DNNL_ARG_DIFF_DST, copy},
         {DNNL_ARG_WEIGHTS, backward_->weights.Read(blobs_[0]->cpu_data(), &workspace_->weights)},
         {DNNL_ARG_DIFF_SRC, target}});
    backward_->bottom_diff.Written(target, bottom_diff);
  } else {
    for (int n = 0; n < num_; ++n) {
      backward_cpu_gemm(top.cpu_diff() + n * top_dim_, blobs_[0]->cpu_data(),
                        bottom_diff + n * bottom_dim_);
    }
  }
}

void OneDnnConvolutionLayer::Backward_cpu(const vector<Blob<float>*>& top,
                                          const vector<bool>& propagate_down,
                                          const vector<Blob<float>*>& bottom) {
  if (Rectifies()) {
    for (Blob<float>* blob : top) {
      const float* values = blob->cpu_data();
      float* diff = blob->mutable_cpu_diff();
      ParallelFor(blob->count(), [=](int64_t i) { diff[i] *= values[i] > 0; });
    }
  }
  Prepare(*bottom[0], *top[0]);
  PrepareBackward();
  workspace_ = Workspace::OfThisThread();
  for (size_t i = 0; i < top.size(); ++i) {
    if (backward_) backward_->copied_top_diff = memory();
    const bool to_weights = param_propagate_down_[0];
    if (to_weights) BackwardToWeights(*top[i], *bottom[i]);
    // oneDNN's kernel has the bias's gradient on the way.
    if (bias_term_ && param_propagate_down_[1] && !(to_weights && to_weights_ == kOneDnnEngine)) {
      BackwardToBias(*top[i]);
    }
    if (propagate_down[i]) BackwardToBottom(*top[i], bottom[i]);
  }
}

void OneDnnConvolutionLayer::Forward_gpu(const vector<Blob<float>*>& bottom,
                                         const vector<Blob<float>*>& top) {
  CHECK(!Rectifies()) << "layer " << layer_param_.name()
                      << ": fuse_relu expected mode CPU, got GPU";
  ConvolutionLayer<float>::Forward_gpu(bottom, top);
}

}  // namespace caffe
