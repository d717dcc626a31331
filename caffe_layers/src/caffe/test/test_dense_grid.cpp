#include <vector>

#include "gtest/gtest.h"

#include "caffe/test/test_caffe_main.hpp"
#include "caffe/util/dense_grid.hpp"
#include "caffe/util/parallel_for.hpp"

namespace caffe {

namespace {

HypercolumnLevel Level(int channels, int size, double scale) {
  return {channels, size, size, scale, (scale - 1) / 2, (scale - 1) / 2, 1, 0, false};
}

}  // namespace

// Which way each level goes, at stride 4 of 32 x 32 pixels with 64 outputs. The fine level is
// sampled; the second has the grid's cells; of the coarse ones, those of many channels are
// projected at their 16 cells (2 * 64 * 32 / 2 below 64 * 32 * 64), and the one of a single channel
// is sampled, since the interpolation of 64 maps costs more than that of one.
TEST(DenseGridTest, TestCostModel) {
  DenseGrid grid;
  grid.Reshape({Level(8, 32, 1), Level(8, 8, 4), Level(32, 4, 8), Level(16, 4, 8), Level(1, 4, 8)},
               64, 8, 8, 4);
  for (size_t l = 0; l < 5; ++l) {
    EXPECT_EQ(l == 1, grid.IsReadAsIs(l)) << l;
    EXPECT_EQ(l == 2 || l == 3, grid.ProjectsFirst(l)) << l;
    EXPECT_EQ(l == 0 || l == 4, grid.SamplesFirst(l)) << l;
  }
  EXPECT_EQ((std::vector<std::vector<size_t> >{{2, 3}}), grid.groups());
  EXPECT_EQ(64, grid.cells());
  // 64 maps of 16 cells, which is more than 8 of 64.
  EXPECT_EQ(64 * 16, grid.workspace(8));
  // A row of the grid, between two rows of cells or in the border one, needs at most two of them.
  EXPECT_EQ(64 * 2 * 4, grid.workspace(1));
}

// Row 2 of stride 4 is input pixel 9.5: 0.75 of the way from row 0 of scale 8, at 3.5, to row 1.
TEST(DenseGridTest, TestBands) {
  DenseGrid grid;
  grid.Reshape({Level(32, 4, 8), Level(8, 32, 1)}, 64, 8, 8, 4);
  ASSERT_TRUE(grid.ProjectsFirst(0) && grid.SamplesFirst(1));
  const BilinearGrid band = grid.BandTaps<OnCPU>(0, 2, 3);
  EXPECT_EQ(0.75, band.rows[0].fraction);
  EXPECT_EQ(3, band.output_height);
  EXPECT_EQ(0, band.first_row);  // rows 0 to 2: 9.5, 13.5 and 17.5
  EXPECT_EQ(3, band.height);
  const BilinearGrid last =
      grid.BandTaps<OnCPU>(0, 7, 1);  // 29.5, behind the centre of row 3, 27.5
  EXPECT_EQ(3, last.first_row);
  EXPECT_EQ(1, last.height);
  const BilinearGrid sampled = grid.BandTaps<OnCPU>(1, 7, 1);  // the whole map is there
  EXPECT_EQ(0, sampled.first_row);
  EXPECT_EQ(32, sampled.height);
}

// At stride 2, cell 1 is input pixel 2.5: 0.5 behind the centre, 2, of cell 1 of scale 2 with
// offset 0.
TEST(DenseGridTest, TestTaps) {
  DenseGrid grid;
  HypercolumnLevel level = Level(1, 3, 2);
  level.offset_height = 0;
  for (const int height : {3, 2}) {
    grid.Reshape({level}, 1, height, 3, 2);
    const BilinearGrid taps = grid.Taps<OnCPU>(0);
    EXPECT_EQ(height, taps.output_height);
    EXPECT_EQ(3, taps.output_width);
    EXPECT_EQ(1, taps.rows[1].low);
    EXPECT_EQ(2, taps.rows[1].high);
    EXPECT_DOUBLE_EQ(0.25, taps.rows[1].fraction);
    EXPECT_EQ(1, taps.columns[1].low);
    EXPECT_EQ(0, taps.columns[1].fraction);
    // Cell 1 is read by the rows 0 (at 0.25) and 1; cell 2 by row 1 and, if it is there, 2.
    EXPECT_EQ(0, taps.row_ranges[1].first);
    EXPECT_EQ(1, taps.row_ranges[1].last);
    EXPECT_EQ(1, taps.row_ranges[2].first);
    EXPECT_EQ(height - 1, taps.row_ranges[2].last);
  }
  // Sizes stay, and the place of the cells changes: the taps are made anew.
  level.offset_height = 0.5;
  grid.Reshape({level}, 1, 2, 3, 2);
  EXPECT_EQ(0, grid.Taps<OnCPU>(0).rows[1].fraction);
}

}  // namespace caffe
