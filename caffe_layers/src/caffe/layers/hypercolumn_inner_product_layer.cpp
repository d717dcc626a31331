#include "caffe/layers/hypercolumn_inner_product_layer.hpp"

#include <algorithm>
#include <climits>
#include <cmath>
#include <vector>

#include "caffe/filler.hpp"
#include "caffe/layers/hypercolumn_geometry.hpp"
#include "caffe/layers/hypercolumn_inner_product_backward.hpp"
#include "caffe/util/bilinear_cpu.hpp"
#include "caffe/util/parallel_for.hpp"
#include "caffe/util/strided_gemm.hpp"

namespace caffe {

namespace {

// What BackwardOn needs.
struct ProductOnCPU : OnCPU {
  template <typename Dtype>
  static void Gemm(bool trans_a, bool trans_b, int m, int n, int k, Dtype alpha, const Dtype* a,
                   int lda, const Dtype* b, int ldb, Dtype beta, Dtype* c, int ldc) {
    StridedGemm(trans_a ? CblasTrans : CblasNoTrans, trans_b ? CblasTrans : CblasNoTrans, m, n, k,
                alpha, a, lda, b, ldb, beta, c, ldc);
  }
  template <typename Dtype>
  static void AddRowSums(int rows, int columns, const Dtype* values, Blob<Dtype>*, Dtype* sums) {
    for (int r = 0; r < rows; ++r) {
      const Dtype* row = values + static_cast<size_t>(r) * columns;
      Dtype sum = 0;
      for (int i = 0; i < columns; ++i) {
        sum += row[i];
      }
      sums[r] += sum;
    }
  }
  template <typename Dtype>
  static void Upsample(const BilinearGrid& grid, int maps, const Dtype* in, Dtype* out) {
    const int rows = grid.output_height;
    Run(static_cast<int64_t>(maps) * rows, UpsampleRow<Dtype>{grid, 0, rows, in, out, {}});
  }
  template <typename Dtype>
  static void UpsampleAdjoint(const BilinearGrid& grid, int maps, const Dtype* out, Dtype* in) {
    Run(maps, UpsampleAdjointMap<Dtype>{grid, out, in, {}});
  }
};

}  // namespace

template <typename Dtype>
vector<Blob<Dtype>*> HypercolumnInnerProductLayer<Dtype>::LevelBottoms(
    const vector<Blob<Dtype>*>& bottom) const {
  return vector<Blob<Dtype>*>(bottom.begin(), bottom.end() - 2 * heads_);
}

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::LayerSetUp(const vector<Blob<Dtype>*>& bottom,
                                                     const vector<Blob<Dtype>*>&) {
  const HypercolumnInnerProductParameter& param =
      this->layer_param_.hypercolumn_inner_product_param();
  const string& name = this->layer_param_.name();
  CHECK(param.num_output() > 0 && param.num_output() <= INT_MAX)
      << "layer " << name << ": num_output expected a positive number, got " << param.num_output();
  CHECK(param.stride() > 0 && param.stride() <= INT_MAX)
      << "layer " << name << ": stride expected a positive number, got " << param.stride();
  num_output_ = param.num_output();
  stride_ = param.stride();
  heads_ = param.heads();
  channels_ = HypercolumnChannels(MakeHypercolumnLevels(LevelBottoms(bottom), 0, param, name));
  if (this->blobs_.empty()) {
    this->blobs_.emplace_back(new Blob<Dtype>(vector<int>{num_output_, channels_}));
    shared_ptr<Filler<Dtype> > weight_filler(GetFiller<Dtype>(param.weight_filler()));
    weight_filler->Fill(this->blobs_[0].get());
    if (param.bias_term()) {
      this->blobs_.emplace_back(new Blob<Dtype>(vector<int>{num_output_}));
      shared_ptr<Filler<Dtype> > bias_filler(GetFiller<Dtype>(param.bias_filler()));
      bias_filler->Fill(this->blobs_[1].get());
    }
  }
  this->param_propagate_down_.assign(this->blobs_.size(), true);
}

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::Reshape(const vector<Blob<Dtype>*>& bottom,
                                                  const vector<Blob<Dtype>*>& top) {
  const string& name = this->layer_param_.name();
  const std::vector<HypercolumnLevel> levels = MakeHypercolumnLevels(
      LevelBottoms(bottom), 0, this->layer_param_.hypercolumn_inner_product_param(), name);
  CHECK_EQ(HypercolumnChannels(levels), channels_)
      << "layer " << name << ": the bottoms' channels expected to sum to " << channels_
      << " as in set-up, got " << HypercolumnChannels(levels);
  const HypercolumnLevel finest = *std::min_element(
      levels.begin(), levels.end(),
      [](const HypercolumnLevel& a, const HypercolumnLevel& b) { return a.scale < b.scale; });
  const double rows = std::ceil(std::round(finest.height * finest.scale) / stride_);
  const double columns = std::ceil(std::round(finest.width * finest.scale) / stride_);
  CheckHeads(bottom);
  for (size_t i = 0; i < top.size(); ++i) {
    const int outputs = heads_ > 0 ? bottom[levels.size() + 2 * i]->shape(0) : num_output_;
    const double values = rows * columns * bottom[0]->shape(0) * outputs;
    CHECK(values >= 1 && values <= INT_MAX)
        << "layer " << name << ": expected 1 to " << INT_MAX << " output values, got "
        << bottom[0]->shape(0) << " x " << outputs << " x " << rows << " x " << columns;
    top[i]->Reshape(vector<int>{bottom[0]->shape(0), outputs, static_cast<int>(rows),
                                static_cast<int>(columns)});
  }
  grid_.Reshape(levels, num_output_, static_cast<int>(rows), static_cast<int>(columns), stride_);
}

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::ReshapeWorkspace(int band_rows) {
  const double size = grid_.workspace(band_rows);
  CHECK_LE(size, INT_MAX) << "layer " << this->layer_param_.name()
                          << ": expected a workspace of at most " << INT_MAX << " values, got "
                          << size;
  workspace_.Reshape(vector<int>{static_cast<int>(size)});
}

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::CheckHeads(const vector<Blob<Dtype>*>& bottom) const {
  const size_t first = bottom.size() - 2 * heads_;
  for (int i = 0; i < heads_; ++i) {
    const Blob<Dtype>& weight = *bottom[first + 2 * i];
    const Blob<Dtype>& bias = *bottom[first + 2 * i + 1];
    CHECK(weight.num_axes() == 2 && weight.shape(1) == num_output_)
        << "layer " << this->layer_param_.name() << ": the weight of head " << i
        << " expected shape (K, " << num_output_ << "), got " << weight.shape_string();
    CHECK(bias.num_axes() == 1 && bias.shape(0) == weight.shape(0))
        << "layer " << this->layer_param_.name() << ": the bias of head " << i
        << " expected shape (" << weight.shape(0) << "), got " << bias.shape_string();
  }
}

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
                                                      const vector<Blob<Dtype>*>& top) {
  const Dtype* bias = this->blobs_.size() > 1 ? this->blobs_[1]->cpu_data() : nullptr;
  const bool exact =
      this->phase_ != TEST || this->layer_param_.hypercolumn_inner_product_param().exact();
  bands_.SetProduct(grid_, {this->blobs_[0]->cpu_data(), bias, num_output_, channels_}, exact);
  const std::vector<HypercolumnLevel>& levels = grid_.levels();
  for (int n = 0; n < bottom[0]->shape(0); ++n) {
    std::vector<const Dtype*> maps;
    for (size_t l = 0; l < levels.size(); ++l) {
      maps.push_back(bottom[l]->cpu_data() +
                     static_cast<size_t>(n) * levels[l].channels * levels[l].plane());
    }
    std::vector<typename BandForward<Dtype>::Head> heads;
    for (int h = 0; h < heads_; ++h) {
      const Blob<Dtype>& weight = *bottom[levels.size() + 2 * h];
      heads.push_back({{weight.cpu_data(), bottom[levels.size() + 2 * h + 1]->cpu_data(),
                        weight.shape(0), num_output_},
                       top[h]->mutable_cpu_data() + static_cast<size_t>(n) * top[h]->count(1)});
    }
    if (heads_ > 0) {
      bands_.Run(maps, heads);
    } else {
      bands_.Run(maps, top[0]->mutable_cpu_data() + static_cast<size_t>(n) * top[0]->count(1));
    }
  }
}

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>& top,
                                                       const vector<bool>& propagate_down,
                                                       const vector<Blob<Dtype>*>& bottom) {
  BackwardOn<ProductOnCPU>(top, propagate_down, bottom);
}

#ifdef CPU_ONLY
STUB_GPU(HypercolumnInnerProductLayer);
#endif

INSTANTIATE_CLASS(HypercolumnInnerProductLayer);
REGISTER_LAYER_CLASS(HypercolumnInnerProduct);

}  // namespace caffe
