/* A driver without a GPU, for tests of what tdl asks of one: memory is the host's, and the one kernel that computes is written
   here. What is put into a stream is done when somebody waits for it, so that what is not waited for shows; what would be slow or
   wrong on a real driver (the null stream, memory that moves, memory in use at the end) is refused or said.
   FAKE_CUDA, words with commas, says what fails; `lost:3`: all from the fourth launch on. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* the number behind a word of FAKE_CUDA; 0 without one; -1: the word is not there */
static long long word(const char *what) {
  const char *at = getenv("FAKE_CUDA");
  size_t n = strlen(what);
  while (at && *at) {
    if (strncmp(at, what, n) == 0 && (at[n] == 0 || at[n] == ',' || at[n] == ':')) return at[n] == ':' ? atoll(at + n + 1) : 0;
    at = strchr(at, ',');
    if (at) at++;
  }
  return -1;
}
static int fails(const char *what) { return word(what) >= 0; }

enum {
  OK = 0, INVALID_VALUE = 1, MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101, NO_BINARY = 209, ECC = 214, INVALID_PTX = 218,
  INVALID_HANDLE = 400, NOT_FOUND = 500, LAUNCH_FAILED = 719
};

int cuGetErrorString(int error, const char **text) {
  *text = error == NO_DEVICE          ? "no device"
          : error == LAUNCH_FAILED    ? "the launch failed"
          : error == ECC              ? "an error of its memory"
          : error == NO_BINARY        ? "no binary for this device"
          : error == INVALID_HANDLE   ? "no stream"
          : error == INVALID_VALUE    ? "memory that moves"
                                      : "another error";
  return OK;
}

int cuDriverGetVersion(int *version) { *version = fails("version") ? (int)word("version") : 12040; return OK; }
int cuInit(unsigned flags) { return fails("init") ? NO_DEVICE : OK; }
/* two devices; the second is the one that fails where "second" is asked for */
int cuDeviceGetCount(int *count) { *count = fails("none") ? 0 : 2; return OK; }
int cuDeviceGet(int *device, int ordinal) {
  *device = ordinal;
  return ordinal > 1 || (ordinal == 1 && fails("second")) ? INVALID_DEVICE : OK;
}
int cuDeviceGetName(char *name, int len, int device) { return snprintf(name, len, "Fake %d", device) < 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  /* 75 and 76: the version of the instructions; 16: multiprocessors; 115: pools of memory */
  *value = attribute == 75 ? (fails("old") ? 6 : 8) : attribute == 16 ? 2 : attribute == 115 ? !fails("no-pools") : 0;
  return OK;
}

int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 64 << 20; return OK; }

/* --- what is there, and what is left at the end */

typedef struct Block { uintptr_t at; size_t bytes; int kind; struct Block *next; } Block;
enum { DEVICE, HOST, STREAM, EVENT, MODULE, KINDS };
static const char *KIND[KINDS] = {"blocks of memory", "places of the host", "streams", "events", "modules"};
static Block *blocks;
static size_t in_use;
static int retained, launches;

static void *add(int kind, size_t bytes) {
  Block *b = malloc(sizeof *b);
  *b = (Block){(uintptr_t)malloc(bytes ? bytes : 1), bytes, kind, blocks};
  memset((void *)b->at, kind == STREAM ? 0 : 0xA5, bytes);
  blocks = b;
  if (kind == DEVICE) in_use += bytes;
  return (void *)b->at;
}
static Block **find(int kind, uintptr_t at, size_t bytes) {
  for (Block **b = &blocks; *b; b = &(*b)->next)
    if ((*b)->kind == kind && (*b)->at <= at && at + bytes <= (*b)->at + (*b)->bytes) return b;
  return NULL;
}
static int del(int kind, uintptr_t at) {
  Block **b = find(kind, at, 0), *old;
  if (!b || (*b)->at != at) return INVALID_VALUE;
  old = *b;
  *b = old->next;
  if (kind == DEVICE) in_use -= old->bytes;
  memset((void *)at, 0x5A, old->bytes);
  free((void *)at);
  free(old);
  return OK;
}
static int lost(void) { return fails("lost") && launches > word("lost"); }

int cuDevicePrimaryCtxRetain(void **context, int device) { *context = &retained; retained++; return OK; }
int cuDevicePrimaryCtxRelease_v2(int device) {
  int left[KINDS] = {0};
  retained--;
  for (Block *b = blocks; b; b = b->next) left[b->kind]++;
  for (int k = 0; k < KINDS; k++)
    if (left[k] && !retained && !lost() && !fails("later")) fprintf(stderr, "%d %s are left\n", left[k], KIND[k]);
  return OK;
}
int cuCtxSetCurrent(void *context) { return OK; }

/* --- streams */

typedef struct Work {
  enum { TO_HOST, TO_DEVICE, BETWEEN, SET, FREE, RUN, RECORD } what;
  uintptr_t to, from;
  size_t bytes;
  struct Work *next;
} Work;
typedef struct { Work *first, **last; } Stream;
typedef struct { Stream *stream; double time; } Event;
/* microseconds: each piece of work takes one */
static double now;

static int put(void *stream, Work work) {
  Stream *s = stream;
  if (lost()) return ECC;
  if (!s || !find(STREAM, (uintptr_t)s, 0)) return INVALID_HANDLE;
  Work *w = malloc(sizeof *w);
  *w = work;
  w->next = NULL;
  if (!s->first) s->last = &s->first;
  *s->last = w;
  s->last = &w->next;
  return OK;
}
static int wait(Stream *s) {
  int result = lost() ? ECC : fails("later") && launches ? LAUNCH_FAILED : OK;
  for (Work *w = s->first, *next; w; w = next) {
    next = w->next;
    now += w->what != RECORD && w->what != FREE;
    if (w->what == RECORD) ((Event *)w->to)->time = now;
    else if (result == OK && w->what == FREE) result = del(DEVICE, w->to);
    else if (result == OK && w->what == SET) memset((void *)w->to, (int)w->from, w->bytes);
    else if (result == OK && w->what == RUN)
      for (size_t i = 0; i < w->bytes; i++) ((float *)w->to)[i] = 2.0f * (float)i;
    else if (result == OK) memmove((void *)w->to, (void *)w->from, w->bytes);
    free(w);
  }
  s->first = NULL;
  return result;
}

int cuStreamCreate(void **stream, unsigned flags) {
  if (fails("stream")) return LAUNCH_FAILED;
  *stream = add(STREAM, sizeof(Stream));
  return flags == 1 ? OK : INVALID_VALUE;
}
int cuStreamDestroy_v2(void *stream) { return del(STREAM, (uintptr_t)stream); }
int cuStreamSynchronize(void *stream) { return stream ? wait(stream) : INVALID_HANDLE; }

int cuEventCreate(void **event, unsigned flags) {
  Event *e = add(EVENT, sizeof(Event));
  e->stream = NULL;
  *event = e;
  return OK;
}
int cuEventDestroy_v2(void *event) { return del(EVENT, (uintptr_t)event); }
int cuEventRecord(void *event, void *stream) {
  ((Event *)event)->stream = stream;
  return put(stream, (Work){RECORD, (uintptr_t)event, 0, 0, NULL});
}
int cuEventElapsedTime(float *ms, void *from, void *to) {
  *ms = (float)((((Event *)to)->time - ((Event *)from)->time) / 1e3);
  return OK;
}
int cuEventSynchronize(void *event) {
  Stream *s = ((Event *)event)->stream;
  return s ? wait(s) : lost() ? ECC : OK;
}

/* --- memory */

static int memory(uint64_t *p, size_t bytes) {
  if (lost()) return ECC;
  if (fails("memory") || (fails("limit") && in_use + bytes > (size_t)word("limit"))) return MEMORY;
  *p = (uint64_t)(uintptr_t)add(DEVICE, bytes);
  return OK;
}
int cuMemAlloc_v2(uint64_t *p, size_t bytes) { return fails("no-pools") ? memory(p, bytes) : NOT_FOUND; }
int cuMemFree_v2(uint64_t p) { return del(DEVICE, p); }
int cuMemAllocAsync(uint64_t *p, size_t bytes, void *stream) {
  if (fails("no-pools")) return NOT_FOUND;
  return stream ? memory(p, bytes) : INVALID_HANDLE;
}
int cuMemFreeAsync(uint64_t p, void *stream) { return put(stream, (Work){FREE, p, 0, 0, NULL}); }
int cuDeviceGetDefaultMemPool(void **pool, int device) { *pool = &in_use; return fails("no-pools") ? NOT_FOUND : OK; }
int cuMemPoolSetAttribute(void *pool, int attribute, void *value) {
  return attribute == 4 && *(uint64_t *)value == UINT64_MAX ? OK : INVALID_VALUE;
}
int cuMemPoolTrimTo(void *pool, size_t keep) { return keep == 0 ? OK : INVALID_VALUE; }
int cuMemHostAlloc(void **p, size_t bytes, unsigned flags) {
  if (fails("host")) return MEMORY;
  *p = add(HOST, bytes);
  return OK;
}
int cuMemFreeHost(void *p) { return del(HOST, (uintptr_t)p); }

int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t n, void *stream) {
  if (!find(HOST, (uintptr_t)from, n) || !find(DEVICE, to, n)) return INVALID_VALUE;
  return put(stream, (Work){TO_DEVICE, to, (uintptr_t)from, n, NULL});
}
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t n, void *stream) {
  if (!find(HOST, (uintptr_t)to, n) || !find(DEVICE, from, n)) return INVALID_VALUE;
  return put(stream, (Work){TO_HOST, (uintptr_t)to, from, n, NULL});
}
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t n, void *stream) {
  if (!find(DEVICE, to, n) || !find(DEVICE, from, n)) return INVALID_VALUE;
  return put(stream, (Work){BETWEEN, to, from, n, NULL});
}
int cuMemsetD8Async(uint64_t to, unsigned char x, size_t n, void *stream) {
  if (!find(DEVICE, to, n)) return INVALID_VALUE;
  return put(stream, (Work){SET, to, x, n, NULL});
}

/* --- kernels */

int cuModuleLoadData(void **module, const void *image) {
  const char *text = image;
  int machine = memcmp(text, "\x7f" "ELF", 4) == 0;
  if (fails("images")) fprintf(stderr, "%s\n", machine ? "machine code" : "assembly");
  if (machine && fails("no-machine")) return NO_BINARY;
  int good = machine || strstr(text, ".target sm_80") && strstr(text, ".entry k0") && !fails("module");
  if (!good) return INVALID_PTX;
  *module = add(MODULE, 1);
  return OK;
}
int cuModuleUnload(void *module) { return del(MODULE, (uintptr_t)module); }
int cuModuleGetFunction(void **f, void *module, const char *name) {
  static char k0, other;
  int first = strcmp(name, "k0") == 0;
  *f = first ? &k0 : &other;
  return first || fails("idle") ? OK : NOT_FOUND;
}

/* `k0(out, range)`: out[i] = 2 i; with "idle" kernels do nothing */
int cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                   void *stream, void **params, void **extra) {
  launches++;
  if (fails("launch")) return LAUNCH_FAILED;
  if (lost()) return ECC;
  if (fails("idle")) return stream ? OK : INVALID_HANDLE;
  uintptr_t out = *(uintptr_t *)params[0];
  int64_t range = *(int64_t *)params[1];
  fprintf(stderr, "%u blocks of %u threads, %lld steps\n", gx, bx, (long long)range);
  return put(stream, (Work){RUN, out, 0, (size_t)range, NULL});
}
