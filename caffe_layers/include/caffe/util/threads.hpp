#ifndef CAFFE_UTIL_THREADS_HPP_
#define CAFFE_UTIL_THREADS_HPP_

#ifdef _OPENMP
#include <omp.h>
#endif

namespace caffe {

/// The most OpenMP threads that a parallel region gets; 1 without OpenMP, as the others say then.
inline int MaxThreads() {
#ifdef _OPENMP
  return omp_get_max_threads();
#else
  return 1;
#endif
}

/// The number of this thread in the team that runs now.
inline int Thread() {
#ifdef _OPENMP
  return omp_get_thread_num();
#else
  return 0;
#endif
}

/// How many threads the team has, which may be fewer than were asked for.
inline int TeamThreads() {
#ifdef _OPENMP
  return omp_get_num_threads();
#else
  return 1;
#endif
}

}  // namespace caffe

#endif  // CAFFE_UTIL_THREADS_HPP_
