#ifndef CAFFE_UTIL_STRIDED_GEMM_HPP_
#define CAFFE_UTIL_STRIDED_GEMM_HPP_

#ifdef USE_ONEDNN
#include "oneapi/dnnl/dnnl.h"
#endif

#include "caffe/util/math_functions.hpp"

namespace caffe {

/// C = alpha op(A) op(B) + beta C on row-major matrices whose rows lie lda, ldb and ldc values
/// apart; caffe_cpu_gemm takes no such strides. op(A) is (m x k), op(B) (k x n). In float it is
/// oneDNN's product where Caffe is built with it, which is faster than OpenBLAS's.
inline void StridedGemm(CBLAS_TRANSPOSE trans_a, CBLAS_TRANSPOSE trans_b, int m, int n, int k,
                        float alpha, const float* a, int lda, const float* b, int ldb, float beta,
                        float* c, int ldc) {
#ifdef USE_ONEDNN
  const dnnl_status_t status =
      dnnl_sgemm(trans_a == CblasTrans ? 'T' : 'N', trans_b == CblasTrans ? 'T' : 'N', m, n, k,
                 alpha, a, lda, b, ldb, beta, c, ldc);
  CHECK_EQ(status, dnnl_success) << "oneDNN: a product of " << m << " x " << k << " and " << k
                                 << " x " << n << " values expected status " << dnnl_success
                                 << ", got " << status;
#else
  cblas_sgemm(CblasRowMajor, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
#endif
}
inline void StridedGemm(CBLAS_TRANSPOSE trans_a, CBLAS_TRANSPOSE trans_b, int m, int n, int k,
                        double alpha, const double* a, int lda, const double* b, int ldb,
                        double beta, double* c, int ldc) {
  cblas_dgemm(CblasRowMajor, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

}  // namespace caffe

#endif  // CAFFE_UTIL_STRIDED_GEMM_HPP_
