// The same sources as CPU kernels, one at a time: what the tests check on machines without a GPU.
#include "bias_act.cu"
#include "blobs.cu"
#include "upfirdn2d.cu"
#include "convolution.cu"
