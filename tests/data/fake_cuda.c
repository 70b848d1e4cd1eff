/* A driver without a GPU, for tests of what tdl asks of one: memory is the host's, and the one kernel that can be started is
   written here. FAKE_CUDA says what fails. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fails(const char *what) {
  const char *f = getenv("FAKE_CUDA");
  return f && strcmp(f, what) == 0;
}

/* CUDA_ERROR_OUT_OF_MEMORY, _NO_DEVICE, _INVALID_PTX, _LAUNCH_FAILED */
enum { OK = 0, MEMORY = 2, NO_DEVICE = 100, INVALID_PTX = 218, LAUNCH_FAILED = 719 };

int cuGetErrorString(int error, const char **text) {
  *text = error == NO_DEVICE ? "no device" : error == LAUNCH_FAILED ? "the launch failed" : "another error";
  return OK;
}

int cuInit(unsigned flags) { return fails("init") ? NO_DEVICE : OK; }
/* two devices; the second is the one that fails where "second" is asked for */
int cuDeviceGet(int *device, int ordinal) {
  *device = ordinal;
  return ordinal > 1 || (ordinal == 1 && fails("second")) ? NO_DEVICE : OK;
}
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = malloc(1); return OK; }
int cuDevicePrimaryCtxRelease_v2(int device) { return OK; }
int cuCtxSetCurrent(void *context) { return OK; }

int cuDeviceGetAttribute(int *value, int attribute, int device) {
  /* 75 and 76: the version of the instructions; 16: multiprocessors */
  *value = attribute == 75 ? (fails("old") ? 6 : 8) : attribute == 76 ? 0 : attribute == 16 ? 2 : 0;
  return OK;
}

int cuMemAlloc_v2(uint64_t *p, size_t bytes) {
  if (fails("memory")) return MEMORY;
  *p = (uint64_t)(uintptr_t)malloc(bytes);
  return OK;
}
int cuMemFree_v2(uint64_t p) { free((void *)(uintptr_t)p); return OK; }
int cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t n) { memcpy((void *)(uintptr_t)to, from, n); return OK; }
int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t n) { memcpy(to, (void *)(uintptr_t)from, n); return OK; }
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t n, void *stream) {
  memmove((void *)(uintptr_t)to, (void *)(uintptr_t)from, n);
  return OK;
}
int cuMemsetD8Async(uint64_t to, unsigned char x, size_t n, void *stream) {
  memset((void *)(uintptr_t)to, x, n);
  return OK;
}

int cuStreamSynchronize(void *stream) { return fails("later") ? LAUNCH_FAILED : OK; }

int cuModuleLoadData(void **module, const void *image) {
  const char *text = image;
  *module = malloc(1);
  return strstr(text, ".target sm_80") && strstr(text, ".entry k0") && !fails("module") ? OK : INVALID_PTX;
}
int cuModuleUnload(void *module) { free(module); return OK; }
int cuModuleGetFunction(void **f, void *module, const char *name) {
  static char k0;
  *f = &k0;
  return strcmp(name, "k0") == 0 ? OK : 500;
}

/* `k0(out, range)`: out[i] = 2 i */
int cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                   void *stream, void **params, void **extra) {
  float *out = *(float **)params[0];
  int64_t range = *(int64_t *)params[1];
  if (fails("launch")) return LAUNCH_FAILED;
  fprintf(stderr, "%u blocks of %u threads, %lld steps\n", gx, bx, (long long)range);
  for (int64_t i = 0; i < range; i++) out[i] = 2.0f * (float)i;
  return OK;
}
