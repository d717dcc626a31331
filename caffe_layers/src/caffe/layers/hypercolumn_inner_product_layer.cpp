#include "caffe/layers/hypercolumn_inner_product_layer.hpp"

#include <algorithm>
#include <climits>
#include <cmath>
#include <vector>

#include "caffe/filler.hpp"
#include "caffe/layers/hypercolumn_geometry.hpp"
#include "caffe/util/math_functions.hpp"

namespace caffe {

namespace {

// C = alpha A B + beta C on row-major matrices with a row stride for A, or for A transposed, since
// one level's weights are a band of columns of the weight matrix.
void Gemm(CBLAS_TRANSPOSE trans_a, CBLAS_TRANSPOSE trans_b, int m, int n, int k, float alpha,
          const float* a, int lda, const float* b, int ldb, float beta, float* c, int ldc) {
  cblas_sgemm(CblasRowMajor, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
void Gemm(CBLAS_TRANSPOSE trans_a, CBLAS_TRANSPOSE trans_b, int m, int n, int k, double alpha,
          const double* a, int lda, const double* b, int ldb, double beta, double* c, int ldc) {
  cblas_dgemm(CblasRowMajor, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

// Taps of all output rows, or columns, of a level, and the outputs that read each of its cells.
void MakeTaps(int count, int stride, double scale, double offset, int size,
              SyncedArray<BilinearTap>* taps_array, SyncedArray<TapRange>* ranges_array) {
  taps_array->Resize(count);
  ranges_array->Resize(size);
  BilinearTap* taps = taps_array->mutable_cpu_data();
  TapRange* ranges = ranges_array->mutable_cpu_data();
  for (int cell = 0; cell < size; ++cell) {
    ranges[cell] = {count, -1};
  }
  for (int i = 0; i < count; ++i) {
    taps[i] = MakeBilinearTap(i * stride + (stride - 1) / 2.0, scale, offset, size);
    for (int cell = taps[i].low; cell <= taps[i].high; ++cell) {
      ranges[cell].first = std::min(ranges[cell].first, i);
      ranges[cell].last = i;
    }
  }
}

}  // namespace

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
  channels_ = HypercolumnChannels(MakeHypercolumnLevels(bottom, 0, param, name));
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
  levels_ =
      MakeHypercolumnLevels(bottom, 0, this->layer_param_.hypercolumn_inner_product_param(), name);
  CHECK_EQ(HypercolumnChannels(levels_), channels_)
      << "layer " << name << ": the bottoms' channels expected to sum to " << channels_
      << " as in set-up, got " << HypercolumnChannels(levels_);
  const HypercolumnLevel finest = *std::min_element(
      levels_.begin(), levels_.end(),
      [](const HypercolumnLevel& a, const HypercolumnLevel& b) { return a.scale < b.scale; });
  const double rows = std::ceil(std::round(finest.height * finest.scale) / stride_);
  const double columns = std::ceil(std::round(finest.width * finest.scale) / stride_);
  const double values = rows * columns * bottom[0]->shape(0) * num_output_;
  CHECK(values >= 1 && values <= INT_MAX)
      << "layer " << name << ": expected 1 to " << INT_MAX << " output values, got "
      << bottom[0]->shape(0) << " x " << num_output_ << " x " << rows << " x " << columns;
  height_ = static_cast<int>(rows);
  width_ = static_cast<int>(columns);
  top[0]->Reshape(vector<int>{bottom[0]->shape(0), num_output_, height_, width_});

  grids_.resize(levels_.size());
  int workspace = 1;
  for (size_t l = 0; l < levels_.size(); ++l) {
    const HypercolumnLevel& level = levels_[l];
    Grid& grid = grids_[l];
    // Every forward pass reshapes; the taps, and their copies on the GPU, are made anew only where
    // something has another size.
    const std::vector<int> sizes = {level.height, level.width, height_, width_};
    if (grid.sizes != sizes) {
      grid.sizes = sizes;
      MakeTaps(height_, stride_, level.scale, level.offset_height, level.height, &grid.rows,
               &grid.row_ranges);
      MakeTaps(width_, stride_, level.scale, level.offset_width, level.width, &grid.columns,
               &grid.column_ranges);
    }
    const double size = ProjectsFirst(level) ? double(num_output_) * level.plane()
                                             : double(level.channels) * height_ * width_;
    CHECK_LE(size, INT_MAX) << "layer " << name << ": expected a workspace of at most " << INT_MAX
                            << " values, got " << size;
    workspace = std::max(workspace, static_cast<int>(size));
  }
  workspace_.Reshape(vector<int>{workspace});
}

template <typename Dtype>
bool HypercolumnInnerProductLayer<Dtype>::ProjectsFirst(const HypercolumnLevel& level) const {
  // Multiply-adds of the product and, four for each value, of the interpolation.
  const double in = level.plane(), out = double(height_) * width_;
  const double product = double(num_output_) * level.channels;
  return product * in + 4.0 * num_output_ * out < product * out + 4.0 * level.channels * out;
}

template <typename Dtype>
BilinearGrid HypercolumnInnerProductLayer<Dtype>::GridOnCPU(size_t level) const {
  const Grid& grid = grids_[level];
  return {levels_[level].height,
          levels_[level].width,
          height_,
          width_,
          grid.rows.cpu_data(),
          grid.columns.cpu_data(),
          grid.row_ranges.cpu_data(),
          grid.column_ranges.cpu_data()};
}

// A row of outputs mixes its two rows of cells first, which halves the work of UpsampleValue.
template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::Upsample(size_t level, int maps, const Dtype* in,
                                                   Dtype* out, bool accumulate) const {
  const BilinearGrid grid = GridOnCPU(level);
  const int64_t plane = static_cast<int64_t>(grid.height) * grid.width;
  const int64_t outputs = static_cast<int64_t>(maps) * height_;
#pragma omp parallel
  {
    std::vector<Dtype> blended(grid.width);
#pragma omp for schedule(static)
    for (int64_t index = 0; index < outputs; ++index) {
      const BilinearTap& y = grid.rows[index % height_];
      const Dtype* map = in + index / height_ * plane;
      const Dtype* low = map + static_cast<int64_t>(y.low) * grid.width;
      const Dtype* high = map + static_cast<int64_t>(y.high) * grid.width;
      const Dtype fraction = static_cast<Dtype>(y.fraction);
      for (int i = 0; i < grid.width; ++i) {
        blended[i] = (1 - fraction) * low[i] + fraction * high[i];
      }
      Dtype* row = out + index * width_;
      for (int i = 0; i < width_; ++i) {
        const BilinearTap& x = grid.columns[i];
        const Dtype right = static_cast<Dtype>(x.fraction);
        const Dtype value = (1 - right) * blended[x.low] + right * blended[x.high];
        row[i] = accumulate ? row[i] + value : value;
      }
    }
  }
}

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::UpsampleAdjoint(size_t level, int maps, const Dtype* out,
                                                          Dtype* in) const {
  const BilinearGrid grid = GridOnCPU(level);
  const int64_t plane = static_cast<int64_t>(grid.height) * grid.width;
#pragma omp parallel
  {
    std::vector<Dtype> blended(grid.width);
#pragma omp for schedule(static)
    for (int m = 0; m < maps; ++m) {  // a thread owns whole maps: no shared writes
      Dtype* map = in + m * plane;
      std::fill(map, map + plane, Dtype(0));
      for (int j = 0; j < height_; ++j) {
        const Dtype* row = out + (static_cast<int64_t>(m) * height_ + j) * width_;
        std::fill(blended.begin(), blended.end(), Dtype(0));
        for (int i = 0; i < width_; ++i) {
          const BilinearTap& x = grid.columns[i];
          const Dtype right = static_cast<Dtype>(x.fraction);
          blended[x.low] += (1 - right) * row[i];
          blended[x.high] += right * row[i];
        }
        const BilinearTap& y = grid.rows[j];
        const Dtype fraction = static_cast<Dtype>(y.fraction);
        Dtype* low = map + static_cast<int64_t>(y.low) * grid.width;
        Dtype* high = map + static_cast<int64_t>(y.high) * grid.width;
        for (int i = 0; i < grid.width; ++i) {
          low[i] += (1 - fraction) * blended[i];
          high[i] += fraction * blended[i];
        }
      }
    }
  }
}

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
                                                      const vector<Blob<Dtype>*>& top) {
  const Dtype* weight = this->blobs_[0]->cpu_data();
  const Dtype* bias = this->blobs_.size() > 1 ? this->blobs_[1]->cpu_data() : nullptr;
  const int outputs = height_ * width_;
  Dtype* workspace = workspace_.mutable_cpu_data();
  for (int n = 0; n < bottom[0]->shape(0); ++n) {
    Dtype* out = top[0]->mutable_cpu_data() + static_cast<size_t>(n) * num_output_ * outputs;
    for (int o = 0; o < num_output_; ++o) {
      std::fill_n(out + static_cast<size_t>(o) * outputs, outputs, bias ? bias[o] : Dtype(0));
    }
    for (size_t l = 0; l < levels_.size(); ++l) {
      const HypercolumnLevel& level = levels_[l];
      const Dtype alpha = static_cast<Dtype>(level.multiplier);
      const Dtype* features =
          bottom[l]->cpu_data() + static_cast<size_t>(n) * level.channels * level.plane();
      if (ProjectsFirst(level)) {
        Gemm(CblasNoTrans, CblasNoTrans, num_output_, level.plane(), level.channels, alpha,
             weight + level.first_channel, channels_, features, level.plane(), Dtype(0), workspace,
             level.plane());
        Upsample(l, num_output_, workspace, out, true);
      } else {
        Upsample(l, level.channels, features, workspace, false);
        Gemm(CblasNoTrans, CblasNoTrans, num_output_, outputs, level.channels, alpha,
             weight + level.first_channel, channels_, workspace, outputs, Dtype(1), out, outputs);
      }
    }
  }
}

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>& top,
                                                       const vector<bool>& propagate_down,
                                                       const vector<Blob<Dtype>*>& bottom) {
  const int outputs = height_ * width_;
  const Dtype* weight = this->blobs_[0]->cpu_data();
  const bool to_weight = this->param_propagate_down_[0];
  Dtype* workspace = workspace_.mutable_cpu_data();
  for (int n = 0; n < bottom[0]->shape(0); ++n) {
    const Dtype* out = top[0]->cpu_diff() + static_cast<size_t>(n) * num_output_ * outputs;
    if (this->blobs_.size() > 1 && this->param_propagate_down_[1]) {
      Dtype* bias_diff = this->blobs_[1]->mutable_cpu_diff();
      for (int o = 0; o < num_output_; ++o) {
        const Dtype* row = out + static_cast<size_t>(o) * outputs;
        Dtype sum = 0;
        for (int i = 0; i < outputs; ++i) {
          sum += row[i];
        }
        bias_diff[o] += sum;
      }
    }
    for (size_t l = 0; l < levels_.size(); ++l) {
      const bool to_bottom = Propagates(propagate_down, l);
      if (!to_weight && !to_bottom) {
        continue;
      }
      const HypercolumnLevel& level = levels_[l];
      const int plane = level.plane();
      const Dtype alpha = static_cast<Dtype>(level.multiplier);
      const size_t image = static_cast<size_t>(n) * level.channels * plane;
      const Dtype* features = bottom[l]->cpu_data() + image;
      if (ProjectsFirst(level)) {
        UpsampleAdjoint(l, num_output_, out, workspace);
        if (to_weight) {
          Gemm(CblasNoTrans, CblasTrans, num_output_, level.channels, plane, alpha, workspace,
               plane, features, plane, Dtype(1),
               this->blobs_[0]->mutable_cpu_diff() + level.first_channel, channels_);
        }
        if (to_bottom) {
          Gemm(CblasTrans, CblasNoTrans, level.channels, plane, num_output_, alpha,
               weight + level.first_channel, channels_, workspace, plane, Dtype(0),
               bottom[l]->mutable_cpu_diff() + image, plane);
        }
      } else {
        if (to_weight) {
          Upsample(l, level.channels, features, workspace, false);
          Gemm(CblasNoTrans, CblasTrans, num_output_, level.channels, outputs, alpha, out, outputs,
               workspace, outputs, Dtype(1),
               this->blobs_[0]->mutable_cpu_diff() + level.first_channel, channels_);
        }
        if (to_bottom) {
          Gemm(CblasTrans, CblasNoTrans, level.channels, outputs, num_output_, alpha,
               weight + level.first_channel, channels_, out, outputs, Dtype(0), workspace, outputs);
          UpsampleAdjoint(l, level.channels, workspace, bottom[l]->mutable_cpu_diff() + image);
        }
      }
    }
  }
}

#ifdef CPU_ONLY
STUB_GPU(HypercolumnInnerProductLayer);
#endif

INSTANTIATE_CLASS(HypercolumnInnerProductLayer);
REGISTER_LAYER_CLASS(HypercolumnInnerProduct);

}  // namespace caffe
