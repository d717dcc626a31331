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

// Taps of all output rows, or columns, of a level.
std::vector<BilinearTap> GridTaps(int count, int stride, double scale, double offset, int size) {
  std::vector<BilinearTap> taps(count);
  for (int i = 0; i < count; ++i) {
    taps[i] = MakeBilinearTap(i * stride + (stride - 1) / 2.0, scale, offset, size);
  }
  return taps;
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
  levels_ = MakeHypercolumnLevels(bottom, 0, this->layer_param_.hypercolumn_inner_product_param(),
                                  name);
  CHECK_EQ(HypercolumnChannels(levels_), channels_)
      << "layer " << name << ": the bottoms' channels expected to sum to " << channels_
      << " as in set-up, got " << HypercolumnChannels(levels_);
  const HypercolumnLevel finest =
      *std::min_element(levels_.begin(), levels_.end(),
                        [](const HypercolumnLevel& a, const HypercolumnLevel& b) {
                          return a.scale < b.scale;
                        });
  const double rows = std::ceil(std::round(finest.height * finest.scale) / stride_);
  const double columns = std::ceil(std::round(finest.width * finest.scale) / stride_);
  const double values = rows * columns * bottom[0]->shape(0) * num_output_;
  CHECK(values >= 1 && values <= INT_MAX)
      << "layer " << name << ": output of " << bottom[0]->shape(0) << " x " << num_output_ << " x "
      << rows << " x " << columns << " values, expected 1 to " << INT_MAX;
  height_ = static_cast<int>(rows);
  width_ = static_cast<int>(columns);
  top[0]->Reshape(vector<int>{bottom[0]->shape(0), num_output_, height_, width_});

  int workspace = 1;
  for (const HypercolumnLevel& level : levels_) {
    const double size = ProjectsFirst(level) ? double(num_output_) * level.plane()
                                             : double(level.channels) * height_ * width_;
    CHECK_LE(size, INT_MAX) << "layer " << name << ": workspace of " << size << " values";
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
void HypercolumnInnerProductLayer<Dtype>::Upsample(const HypercolumnLevel& level, int maps,
                                                   const Dtype* in, Dtype* out,
                                                   bool accumulate) const {
  const std::vector<BilinearTap> rows =
      GridTaps(height_, stride_, level.scale, level.offset_height, level.height);
  const std::vector<BilinearTap> columns =
      GridTaps(width_, stride_, level.scale, level.offset_width, level.width);
  const int outputs = maps * height_;
#pragma omp parallel
  {
    std::vector<Dtype> blended(level.width);  // the two input rows, mixed
#pragma omp for schedule(static)
    for (int index = 0; index < outputs; ++index) {
      const BilinearTap& y = rows[index % height_];
      const Dtype* map = in + static_cast<size_t>(index / height_) * level.plane();
      const Dtype* low = map + static_cast<size_t>(y.low) * level.width;
      const Dtype* high = map + static_cast<size_t>(y.high) * level.width;
      const Dtype fraction = static_cast<Dtype>(y.fraction);
      for (int i = 0; i < level.width; ++i) {
        blended[i] = (1 - fraction) * low[i] + fraction * high[i];
      }
      Dtype* row = out + static_cast<size_t>(index) * width_;
      for (int i = 0; i < width_; ++i) {
        const Dtype right = static_cast<Dtype>(columns[i].fraction);
        const Dtype value =
            (1 - right) * blended[columns[i].low] + right * blended[columns[i].high];
        row[i] = accumulate ? row[i] + value : value;
      }
    }
  }
}

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::UpsampleAdjoint(const HypercolumnLevel& level, int maps,
                                                          const Dtype* out,
                                                          Dtype* in) const {
  const std::vector<BilinearTap> rows =
      GridTaps(height_, stride_, level.scale, level.offset_height, level.height);
  const std::vector<BilinearTap> columns =
      GridTaps(width_, stride_, level.scale, level.offset_width, level.width);
#pragma omp parallel
  {
    std::vector<Dtype> blended(level.width);
#pragma omp for schedule(static)
    for (int m = 0; m < maps; ++m) {  // a thread owns whole maps: no shared writes
      Dtype* map = in + static_cast<size_t>(m) * level.plane();
      std::fill(map, map + level.plane(), Dtype(0));
      for (int j = 0; j < height_; ++j) {
        const Dtype* row = out + (static_cast<size_t>(m) * height_ + j) * width_;
        std::fill(blended.begin(), blended.end(), Dtype(0));
        for (int i = 0; i < width_; ++i) {
          const Dtype right = static_cast<Dtype>(columns[i].fraction);
          blended[columns[i].low] += (1 - right) * row[i];
          blended[columns[i].high] += right * row[i];
        }
        const Dtype fraction = static_cast<Dtype>(rows[j].fraction);
        Dtype* low = map + static_cast<size_t>(rows[j].low) * level.width;
        Dtype* high = map + static_cast<size_t>(rows[j].high) * level.width;
        for (int i = 0; i < level.width; ++i) {
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
        Upsample(level, num_output_, workspace, out, true);
      } else {
        Upsample(level, level.channels, features, workspace, false);
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
      if (!to_weight && !propagate_down[l]) {
        continue;
      }
      const HypercolumnLevel& level = levels_[l];
      const int plane = level.plane();
      const Dtype alpha = static_cast<Dtype>(level.multiplier);
      const size_t image = static_cast<size_t>(n) * level.channels * plane;
      const Dtype* features = bottom[l]->cpu_data() + image;
      if (ProjectsFirst(level)) {
        UpsampleAdjoint(level, num_output_, out, workspace);
        if (to_weight) {
          Gemm(CblasNoTrans, CblasTrans, num_output_, level.channels, plane, alpha, workspace,
               plane, features, plane, Dtype(1),
               this->blobs_[0]->mutable_cpu_diff() + level.first_channel, channels_);
        }
        if (propagate_down[l]) {
          Gemm(CblasTrans, CblasNoTrans, level.channels, plane, num_output_, alpha,
               weight + level.first_channel, channels_, workspace, plane, Dtype(0),
               bottom[l]->mutable_cpu_diff() + image, plane);
        }
      } else {
        if (to_weight) {
          Upsample(level, level.channels, features, workspace, false);
          Gemm(CblasNoTrans, CblasTrans, num_output_, level.channels, outputs, alpha, out, outputs,
               workspace, outputs, Dtype(1),
               this->blobs_[0]->mutable_cpu_diff() + level.first_channel, channels_);
        }
        if (propagate_down[l]) {
          Gemm(CblasTrans, CblasNoTrans, level.channels, outputs, num_output_, alpha,
               weight + level.first_channel, channels_, out, outputs, Dtype(0), workspace, outputs);
          UpsampleAdjoint(level, level.channels, workspace, bottom[l]->mutable_cpu_diff() + image);
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
