// OpenCV 4 keeps the CV_LOAD_IMAGE_* constants of the C interface here.
#include <opencv2/imgcodecs/legacy/constants_c.h>
