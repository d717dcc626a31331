#include "onednn/threaded_layers.hpp"

#include <algorithm>
#include <cfloat>
#include <vector>

#include "caffe/util/parallel_for.hpp"

namespace caffe {

namespace {

// The row of maxima of 2 x 2 cells whose first cells are `first`, `first + 2`, ...: without
// branches, so that the compiler makes vectors of it. As in PoolingLayer, the first of equal cells
// counts, NaN never does.
template <typename Dtype>
void PoolPairs(const Dtype* map, int first, int width, int columns, Dtype* maxima, int* positions) {
  const Dtype* const upper = map + first;
  const Dtype* const lower = upper + width;
  const auto take = [](Dtype value, int at, Dtype* maximum, int* position) {
    const bool larger = value > *maximum;
    *maximum = larger ? value : *maximum;
    *position = larger ? at : *position;
  };
  for (int i = 0; i < columns; ++i) {
    const int at = first + 2 * i;
    Dtype maximum = -FLT_MAX;
    int position = -1;
    take(upper[2 * i], at, &maximum, &position);
    take(upper[2 * i + 1], at + 1, &maximum, &position);
    take(lower[2 * i], at + width, &maximum, &position);
    take(lower[2 * i + 1], at + width + 1, &maximum, &position);
    maxima[i] = maximum;
    positions[i] = position;
  }
}

}  // namespace

template <typename Dtype>
void ThreadedPoolingLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
                                              const vector<Blob<Dtype>*>& top) {
  if (!IsThreaded(top)) {
    PoolingLayer<Dtype>::Forward_cpu(bottom, top);
    return;
  }
  const Dtype* const maps = bottom[0]->cpu_data();
  Dtype* const maxima = top[0]->mutable_cpu_data();
  int* const positions = this->max_idx_.mutable_cpu_data();
  const int height = this->height_, width = this->width_;
  const int rows = this->pooled_height_, columns = this->pooled_width_;
  const int kernel_h = this->kernel_h_, kernel_w = this->kernel_w_;
  const int stride_h = this->stride_h_, stride_w = this->stride_w_;
  const int pad_h = this->pad_h_, pad_w = this->pad_w_;
  const int64_t plane = static_cast<int64_t>(height) * width;
  ParallelFor(static_cast<int64_t>(bottom[0]->num()) * this->channels_ * rows, [=](int64_t index) {
    const Dtype* map = maps + index / rows * plane;
    const int top_row = static_cast<int>(index % rows) * stride_h - pad_h;
    const int first_row = std::max(top_row, 0), end_row = std::min(top_row + kernel_h, height);
    const bool pairs = kernel_h == 2 && kernel_w == 2 && stride_w == 2 && pad_w == 0;
    const int whole = pairs && end_row - first_row == 2 ? std::min(columns, width / 2) : 0;
    PoolPairs(map, first_row * width, width, whole, maxima + index * columns,
              positions + index * columns);
    for (int i = whole; i < columns; ++i) {
      const int left = i * stride_w - pad_w;
      const int first = std::max(left, 0), end = std::min(left + kernel_w, width);
      Dtype maximum = -FLT_MAX;
      int position = -1;
      for (int y = first_row; y < end_row; ++y) {
        for (int x = first; x < end; ++x) {
          const Dtype value = map[y * width + x];
          const bool larger = value > maximum;
          maximum = larger ? value : maximum;
          position = larger ? y * width + x : position;
        }
      }
      maxima[index * columns + i] = maximum;
      positions[index * columns + i] = position;
    }
  });
}

template <typename Dtype>
void ThreadedPoolingLayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>& top,
                                               const vector<bool>& propagate_down,
                                               const vector<Blob<Dtype>*>& bottom) {
  if (!IsThreaded(top)) {
    PoolingLayer<Dtype>::Backward_cpu(top, propagate_down, bottom);
    return;
  }
  if (!propagate_down[0]) {
    return;
  }
  const Dtype* const top_diff = top[0]->cpu_diff();
  Dtype* const bottom_diff = bottom[0]->mutable_cpu_diff();
  const int* const positions = this->max_idx_.cpu_data();
  const int64_t plane = static_cast<int64_t>(this->height_) * this->width_;
  const int64_t pooled = static_cast<int64_t>(this->pooled_height_) * this->pooled_width_;
  ParallelFor(static_cast<int64_t>(bottom[0]->num()) * this->channels_, [=](int64_t map) {
    Dtype* diff = bottom_diff + map * plane;
    std::fill_n(diff, plane, Dtype(0));
    for (int64_t i = map * pooled; i < (map + 1) * pooled; ++i) {
      if (positions[i] >= 0) {  // none where all values are NaN
        diff[positions[i]] += top_diff[i];
      }
    }
  });
}

template <typename Dtype>
void ThreadedReLULayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
                                           const vector<Blob<Dtype>*>& top) {
  const Dtype* in = bottom[0]->cpu_data();
  Dtype* out = top[0]->mutable_cpu_data();
  const Dtype slope = this->layer_param_.relu_param().negative_slope();
  ParallelFor(bottom[0]->count(), [=](int64_t i) {
    out[i] = std::max(in[i], Dtype(0)) + slope * std::min(in[i], Dtype(0));
  });
}

template <typename Dtype>
void ThreadedReLULayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>& top,
                                            const vector<bool>& propagate_down,
                                            const vector<Blob<Dtype>*>& bottom) {
  if (!propagate_down[0]) {
    return;
  }
  const Dtype* in = bottom[0]->cpu_data();
  const Dtype* top_diff = top[0]->cpu_diff();
  Dtype* bottom_diff = bottom[0]->mutable_cpu_diff();
  const Dtype slope = this->layer_param_.relu_param().negative_slope();
  ParallelFor(bottom[0]->count(), [=](int64_t i) {
    bottom_diff[i] = top_diff[i] * ((in[i] > 0) + slope * (in[i] <= 0));
  });
}

INSTANTIATE_CLASS(ThreadedPoolingLayer);
INSTANTIATE_CLASS(ThreadedReLULayer);

}  // namespace caffe
