#include <vector>

#include "caffe/layers/hypercolumn_inner_product_backward.hpp"
#include "caffe/layers/hypercolumn_inner_product_forward.hpp"
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

// What ForwardOn and BackwardOn need. Interpolation runs with neighbouring threads on neighbouring
// columns: writes coalesce, and reads fall on the same or the next cells.
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

// Values of a band before the heads: enough to fill any GPU, and 64 MB in float.
const int64_t kBandValues = 1 << 24;

}  // namespace

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::Forward_gpu(const vector<Blob<Dtype>*>& bottom,
                                                      const vector<Blob<Dtype>*>& top) {
  ForwardOn<ProductOnGPU>(bottom, top, kBandValues);
}

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::Backward_gpu(const vector<Blob<Dtype>*>& top,
                                                       const vector<bool>& propagate_down,
                                                       const vector<Blob<Dtype>*>& bottom) {
  BackwardOn<ProductOnGPU>(top, propagate_down, bottom);
}

INSTANTIATE_LAYER_GPU_FUNCS(HypercolumnInnerProductLayer);

}  // namespace caffe
