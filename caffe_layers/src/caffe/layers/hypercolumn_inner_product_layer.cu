#include <vector>

#include "caffe/layers/hypercolumn_inner_product_backward.hpp"
#include "caffe/layers/hypercolumn_inner_product_layer.hpp"
#include "caffe/util/math_functions.hpp"
#include "caffe/util/parallel_for.cuh"

namespace caffe {

namespace {

cublasStatus_t CublasGemm(cublasOperation_t trans_a, cublasOperation_t trans_b, int m, int n, int k,
                          const float* alpha, const float* a, int lda, const float* b, int ldb,
                          const float* beta, float* c, int ldc) {
  return cublasSgemm(Caffe::cublas_handle(), trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta,
                     c, ldc);
}
cublasStatus_t CublasGemm(cublasOperation_t trans_a, cublasOperation_t trans_b, int m, int n, int k,
                          const double* alpha, const double* a, int lda, const double* b, int ldb,
                          const double* beta, double* c, int ldc) {
  return cublasDgemm(Caffe::cublas_handle(), trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta,
                     c, ldc);
}

// What BackwardOn needs. Interpolation runs with neighbouring threads on neighbouring columns:
// writes coalesce, and reads fall on the same or the next cells.
struct ProductOnGPU : OnGPU {
  // C = alpha op(A) op(B) + beta C on row-major matrices with row strides. cuBLAS counts by
  // columns, so it computes the transposed product.
  template <typename Dtype>
  static void Gemm(bool trans_a, bool trans_b, int m, int n, int k, Dtype alpha, const Dtype* a,
                   int lda, const Dtype* b, int ldb, Dtype beta, Dtype* c, int ldc) {
    CUBLAS_CHECK(CublasGemm(trans_b ? CUBLAS_OP_T : CUBLAS_OP_N,
                            trans_a ? CUBLAS_OP_T : CUBLAS_OP_N, n, m, k, &alpha, b, ldb, a, lda,
                            &beta, c, ldc));
  }
  template <typename Dtype>
  static void AddRowSums(int rows, int columns, const Dtype* values, Blob<Dtype>* ones,
                         Dtype* sums) {
    if (ones->count() != columns) {
      ones->Reshape(vector<int>{columns});
      caffe_gpu_set(columns, Dtype(1), ones->mutable_gpu_data());
    }
    caffe_gpu_gemv<Dtype>(CblasNoTrans, rows, columns, Dtype(1), values, ones->gpu_data(), Dtype(1),
                          sums);
  }
  template <typename Dtype>
  static void Upsample(const BilinearGrid& grid, int maps, const Dtype* in, Dtype* out,
                       bool accumulate = false) {
    Run(static_cast<int64_t>(maps) * grid.output_height * grid.output_width,
        UpsampleValue<Dtype>{grid, in, out, accumulate});
  }
  template <typename Dtype>
  static void UpsampleAdjoint(const BilinearGrid& grid, int maps, const Dtype* out, Dtype* in) {
    Run(static_cast<int64_t>(maps) * grid.height * grid.width,
        UpsampleAdjointValue<Dtype>{grid, out, in});
  }
};

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

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::Forward_gpu(const vector<Blob<Dtype>*>& bottom,
                                                      const vector<Blob<Dtype>*>& top) {
  const Dtype* weight = this->blobs_[0]->gpu_data();
  const Dtype* bias = this->blobs_.size() > 1 ? this->blobs_[1]->gpu_data() : nullptr;
  const std::vector<HypercolumnLevel>& levels = grid_.levels();
  const int cells = grid_.cells();
  ReshapeWorkspace();
  Dtype* workspace = workspace_.mutable_gpu_data();
  if (heads_ > 0) {
    hidden_.Reshape(vector<int>{num_output_, cells});
  }
  for (int n = 0; n < bottom[0]->shape(0); ++n) {
    Dtype* out = heads_ > 0
                     ? hidden_.mutable_gpu_data()
                     : top[0]->mutable_gpu_data() + static_cast<size_t>(n) * num_output_ * cells;
    const StartFromBias<Dtype> start = {bias, cells, out};
    ParallelForGPU(static_cast<int64_t>(num_output_) * cells, start);
    for (size_t l = 0; l < levels.size(); ++l) {
      const HypercolumnLevel& level = levels[l];
      const BilinearGrid taps = grid_.template Taps<OnGPU>(l);
      const Dtype alpha = static_cast<Dtype>(level.multiplier);
      const Dtype* features =
          bottom[l]->gpu_data() + static_cast<size_t>(n) * level.channels * level.plane();
      const Dtype* level_weight = weight + level.first_channel;
      if (grid_.ProjectsFirst(l)) {
        ProductOnGPU::Gemm(false, false, num_output_, level.plane(), level.channels, alpha,
                           level_weight, channels_, features, level.plane(), Dtype(0), workspace,
                           level.plane());
        ProductOnGPU::Upsample(taps, num_output_, workspace, out, true);
        continue;
      }
      if (grid_.SamplesFirst(l)) {
        ProductOnGPU::Upsample(taps, level.channels, features, workspace);
        features = workspace;
      }
      ProductOnGPU::Gemm(false, false, num_output_, cells, level.channels, alpha, level_weight,
                         channels_, features, cells, Dtype(1), out, cells);
    }
    if (heads_ > 0) {
      const Rectify<Dtype> rectify = {out};
      ParallelForGPU(static_cast<int64_t>(num_output_) * cells, rectify);
    }
    for (int h = 0; h < heads_; ++h) {
      const int count = top[h]->shape(1);
      Dtype* head = top[h]->mutable_gpu_data() + static_cast<size_t>(n) * count * cells;
      const StartFromBias<Dtype> start_head = {bottom[levels.size() + 2 * h + 1]->gpu_data(), cells,
                                               head};
      ParallelForGPU(static_cast<int64_t>(count) * cells, start_head);
      ProductOnGPU::Gemm(false, false, count, cells, num_output_, Dtype(1),
                         bottom[levels.size() + 2 * h]->gpu_data(), num_output_, out, cells,
                         Dtype(1), head, cells);
    }
  }
}

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::Backward_gpu(const vector<Blob<Dtype>*>& top,
                                                       const vector<bool>& propagate_down,
                                                       const vector<Blob<Dtype>*>& bottom) {
  BackwardOn<ProductOnGPU>(top, propagate_down, bottom);
}

INSTANTIATE_LAYER_GPU_FUNCS(HypercolumnInnerProductLayer);

}  // namespace caffe
