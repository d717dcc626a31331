// Caffe includes highgui for imread/imdecode, which OpenCV 3 moved to imgcodecs. Standing in for
// the header spares the window toolkit that the whole of OpenCV depends on.
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
