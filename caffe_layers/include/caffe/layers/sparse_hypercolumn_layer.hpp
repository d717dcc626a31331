#ifndef CAFFE_SPARSE_HYPERCOLUMN_LAYER_HPP_
#define CAFFE_SPARSE_HYPERCOLUMN_LAYER_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/layers/layer_checks.hpp"
#include "caffe/layers/location_rows.hpp"
#include "caffe/proto/caffe.pb.h"
#include "caffe/util/hypercolumn.hpp"
#include "caffe/util/synced_array.hpp"

namespace caffe {

/**
 * @brief Reads hypercolumns at sparse locations by bilinear interpolation (section 3.5).
 *
 * @param bottom input Blob vector (length 1 + L)
 *   -# @f$ (N \times P \times 2) @f$ locations (y, x), or @f$ (M \times 3) @f$ rows (image, y, x)
 *      with any number of rows an image and in any order; in pixels of the input image, pixel
 *      centres at integers. Positions outside a map, infinities and NaN clamp to it; an image that
 *      is none of 0 to N - 1 ends the run. Gets no gradient.
 *   -# … @f$ (N \times C_l \times H_l \times W_l) @f$ feature maps, one bottom per level
 * @param top output Blob vector (length 1)
 *   -# @f$ (N P \times \sum_l C_l) @f$ one hypercolumn a row, row n * P + p; or @f$ (M \times
 *      \sum_l C_l) @f$ in the order of the rows
 *
 * Level l is read at ((y - offset_height_l) / scale_l, (x - offset_width_l) / scale_l). The
 * backward pass adds each gradient to the four nearest cells, at the locations of the last forward
 * pass. On the CPU, and on the GPU where `deterministic` is set, a thread owns whole maps, so that
 * no cell is shared and the result is the same bits on every run; otherwise the GPU adds
 * atomically.
 */
template <typename Dtype>
class SparseHypercolumnLayer : public NamedBlobCounts<Layer, Dtype> {
 public:
  explicit SparseHypercolumnLayer(const LayerParameter& param)
      : NamedBlobCounts<Layer, Dtype>(param) {}
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top);

  virtual inline const char* type() const { return "SparseHypercolumn"; }
  virtual inline int MinBottomBlobs() const { return 2; }
  virtual inline int ExactNumTopBlobs() const { return 1; }
  virtual inline bool AllowForceBackward(const int bottom_index) const { return bottom_index > 0; }

 protected:
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top);
  virtual void Forward_gpu(const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top);
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom);
  virtual void Backward_gpu(const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom);

  HypercolumnIndexing<Dtype> Indexing(size_t level, const ImageRows& rows,
                                      const BilinearCell<Dtype>* cells) const;
  void SortLocations(const Locations<Dtype>& locations);
  /// What a thread takes at a time, of the sorted locations: channels of one image.
  HypercolumnBlock<Dtype> SortedBlock(size_t level) const;
  void RejectLocationGradient(const vector<bool>& propagate_down, size_t bottom) const {
    RejectGradient(*this, propagate_down, bottom, "the gradient of locations is not defined");
  }

  int images_;
  int channels_;              // of the hypercolumn
  bool accumulates_ = false;  // adds to the gradients of the levels, which it overwrites otherwise
  std::vector<HypercolumnLevel> levels_;
  LocationRows<Dtype> rows_;
  SyncedArray<BilinearCell<Dtype> > cells_;  // (L, rows), computed anew by each forward pass
  // On the CPU only: the row of each of the cells, and its (y, x).
  std::vector<int> order_;
  std::vector<Dtype> sorted_locations_;
};

}  // namespace caffe

#endif  // CAFFE_SPARSE_HYPERCOLUMN_LAYER_HPP_
