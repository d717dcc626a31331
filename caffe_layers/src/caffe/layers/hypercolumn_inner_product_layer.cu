#include <vector>

#include "caffe/layers/hypercolumn_inner_product_layer.hpp"
#include "caffe/util/math_functions.hpp"
#include "caffe/util/parallel_for.cuh"

namespace caffe {

namespace {

cublasStatus_t Gemm(cublasOperation_t trans_a, cublasOperation_t trans_b, int m, int n, int k,
                    const float* alpha, const float* a, int lda, const float* b, int ldb,
                    const float* beta, float* c, int ldc) {
  return cublasSgemm(Caffe::cublas_handle(), trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta,
                     c, ldc);
}
cublasStatus_t Gemm(cublasOperation_t trans_a, cublasOperation_t trans_b, int m, int n, int k,
                    const double* alpha, const double* a, int lda, const double* b, int ldb,
                    const double* beta, double* c, int ldc) {
  return cublasDgemm(Caffe::cublas_handle(), trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta,
                     c, ldc);
}

// C = alpha op(A) op(B) + beta C on row-major matrices with row strides, as Gemm of the CPU code.
// cuBLAS counts by columns, so it computes the transposed product.
template <typename Dtype>
void RowMajorGemm(bool trans_a, bool trans_b, int m, int n, int k, Dtype alpha, const Dtype* a,
                  int lda, const Dtype* b, int ldb, Dtype beta, Dtype* c, int ldc) {
  CUBLAS_CHECK(Gemm(trans_b ? CUBLAS_OP_T : CUBLAS_OP_N, trans_a ? CUBLAS_OP_T : CUBLAS_OP_N, n, m,
                    k, &alpha, b, ldb, a, lda, &beta, c, ldc));
}

// Each output channel starts from its bias, or from 0; `index` runs over one image's output.
template <typename Dtype>
struct StartFromBias {
  const Dtype* bias;
  int outputs;
  Dtype* out;

  __device__ void operator()(int64_t index) const {
    out[index] = bias == nullptr ? Dtype(0) : bias[index / outputs];
  }
};

template <typename Dtype>
struct Rectify {
  Dtype* values;

  __device__ void operator()(int64_t index) const {
    values[index] = values[index] > 0 ? values[index] : Dtype(0);
  }
};

}  // namespace

// Interpolation runs with neighbouring threads on neighbouring columns: writes coalesce, and reads
// fall on the same or the next cells.

template <typename Dtype>
BilinearGrid HypercolumnInnerProductLayer<Dtype>::GridOnGPU(size_t level) const {
  const Grid& grid = grids_[level];
  return {levels_[level].height,
          levels_[level].width,
          height_,
          width_,
          grid.rows.gpu_data(),
          grid.columns.gpu_data(),
          grid.row_ranges.gpu_data(),
          grid.column_ranges.gpu_data()};
}

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::Forward_gpu(const vector<Blob<Dtype>*>& bottom,
                                                      const vector<Blob<Dtype>*>& top) {
  const Dtype* weight = this->blobs_[0]->gpu_data();
  const Dtype* bias = this->blobs_.size() > 1 ? this->blobs_[1]->gpu_data() : nullptr;
  const int outputs = height_ * width_;
  ReshapeWorkspace();
  Dtype* workspace = workspace_.mutable_gpu_data();
  if (heads_ > 0) {
    hidden_.Reshape(vector<int>{num_output_, outputs});
  }
  for (int n = 0; n < bottom[0]->shape(0); ++n) {
    Dtype* out = heads_ > 0
                     ? hidden_.mutable_gpu_data()
                     : top[0]->mutable_gpu_data() + static_cast<size_t>(n) * num_output_ * outputs;
    const StartFromBias<Dtype> start = {bias, outputs, out};
    ParallelForGPU(static_cast<int64_t>(num_output_) * outputs, start);
    for (size_t l = 0; l < levels_.size(); ++l) {
      const HypercolumnLevel& level = levels_[l];
      const Dtype alpha = static_cast<Dtype>(level.multiplier);
      const Dtype* features =
          bottom[l]->gpu_data() + static_cast<size_t>(n) * level.channels * level.plane();
      const Dtype* level_weight = weight + level.first_channel;
      if (ProjectsFirst(level)) {
        RowMajorGemm(false, false, num_output_, level.plane(), level.channels, alpha, level_weight,
                     channels_, features, level.plane(), Dtype(0), workspace, level.plane());
        const UpsampleValue<Dtype> upsample = {GridOnGPU(l), workspace, out, true};
        ParallelForGPU(static_cast<int64_t>(num_output_) * outputs, upsample);
      } else {
        const UpsampleValue<Dtype> upsample = {GridOnGPU(l), features, workspace, false};
        ParallelForGPU(static_cast<int64_t>(level.channels) * outputs, upsample);
        RowMajorGemm(false, false, num_output_, outputs, level.channels, alpha, level_weight,
                     channels_, workspace, outputs, Dtype(1), out, outputs);
      }
    }
    if (heads_ > 0) {
      const Rectify<Dtype> rectify = {out};
      ParallelForGPU(static_cast<int64_t>(num_output_) * outputs, rectify);
    }
    for (int h = 0; h < heads_; ++h) {
      const int count = top[h]->shape(1);
      Dtype* head = top[h]->mutable_gpu_data() + static_cast<size_t>(n) * count * outputs;
      const StartFromBias<Dtype> start_head = {bottom[levels_.size() + 2 * h + 1]->gpu_data(),
                                               outputs, head};
      ParallelForGPU(static_cast<int64_t>(count) * outputs, start_head);
      RowMajorGemm(false, false, count, outputs, num_output_, Dtype(1),
                   bottom[levels_.size() + 2 * h]->gpu_data(), num_output_, out, outputs, Dtype(1),
                   head, outputs);
    }
  }
}

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::Backward_gpu(const vector<Blob<Dtype>*>& top,
                                                       const vector<bool>& propagate_down,
                                                       const vector<Blob<Dtype>*>& bottom) {
  RefuseGradientOfHeads();
  ReshapeWorkspace();
  const int outputs = height_ * width_;
  const Dtype* weight = this->blobs_[0]->gpu_data();
  const bool to_weight = this->param_propagate_down_[0];
  const bool to_bias = this->blobs_.size() > 1 && this->param_propagate_down_[1];
  if (to_bias && ones_.count() != outputs) {
    ones_.Reshape(vector<int>{outputs});
    caffe_gpu_set(outputs, Dtype(1), ones_.mutable_gpu_data());
  }
  Dtype* workspace = workspace_.mutable_gpu_data();
  for (int n = 0; n < bottom[0]->shape(0); ++n) {
    const Dtype* out = top[0]->gpu_diff() + static_cast<size_t>(n) * num_output_ * outputs;
    if (to_bias) {
      caffe_gpu_gemv<Dtype>(CblasNoTrans, num_output_, outputs, Dtype(1), out, ones_.gpu_data(),
                            Dtype(1), this->blobs_[1]->mutable_gpu_diff());
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
      const Dtype* features = bottom[l]->gpu_data() + image;
      const Dtype* level_weight = weight + level.first_channel;
      if (ProjectsFirst(level)) {
        const UpsampleAdjointValue<Dtype> adjoint = {GridOnGPU(l), out, workspace};
        ParallelForGPU(static_cast<int64_t>(num_output_) * plane, adjoint);
        if (to_weight) {
          RowMajorGemm(false, true, num_output_, level.channels, plane, alpha, workspace, plane,
                       features, plane, Dtype(1),
                       this->blobs_[0]->mutable_gpu_diff() + level.first_channel, channels_);
        }
        if (to_bottom) {
          RowMajorGemm(true, false, level.channels, plane, num_output_, alpha, level_weight,
                       channels_, workspace, plane, Dtype(0), bottom[l]->mutable_gpu_diff() + image,
                       plane);
        }
      } else {
        if (to_weight) {
          const UpsampleValue<Dtype> upsample = {GridOnGPU(l), features, workspace, false};
          ParallelForGPU(static_cast<int64_t>(level.channels) * outputs, upsample);
          RowMajorGemm(false, true, num_output_, level.channels, outputs, alpha, out, outputs,
                       workspace, outputs, Dtype(1),
                       this->blobs_[0]->mutable_gpu_diff() + level.first_channel, channels_);
        }
        if (to_bottom) {
          RowMajorGemm(true, false, level.channels, outputs, num_output_, alpha, level_weight,
                       channels_, out, outputs, Dtype(0), workspace, outputs);
          const UpsampleAdjointValue<Dtype> adjoint = {GridOnGPU(l), workspace,
                                                       bottom[l]->mutable_gpu_diff() + image};
          ParallelForGPU(static_cast<int64_t>(level.channels) * plane, adjoint);
        }
      }
    }
  }
}

INSTANTIATE_LAYER_GPU_FUNCS(HypercolumnInnerProductLayer);

}  // namespace caffe
