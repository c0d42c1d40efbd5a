/* The floor under splitting: walk the length prefixes of a buffer and copy nothing.
 *
 *     frames SIZE COUNT PASSES
 *
 * Prints CPU and wall time per frame in nanoseconds, as JSON. A splitter that copies its
 * payloads cannot come near this; one that hands out views could.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { HEADER = 4 };

static double seconds(clockid_t clock)
{
    struct timespec now;
    if (clock_gettime(clock, &now) < 0) {
        perror("frames: clock");
        exit(1);
    }
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static size_t walk(const unsigned char *data, size_t size, const unsigned char **last)
{
    size_t frames = 0;
    while (size >= HEADER) {
        size_t body = (size_t)data[0] << 24 | (size_t)data[1] << 16 | (size_t)data[2] << 8 | data[3];
        if (size - HEADER < body)
            break;
        *last = data + HEADER;
        data += HEADER + body;
        size -= HEADER + body;
        frames++;
    }
    return frames;
}

int main(int argc, char **argv)
{
    long size = argc == 4 ? atol(argv[1]) : 0, count = argc == 4 ? atol(argv[2]) : 0;
    long passes = argc == 4 ? atol(argv[3]) : 0;
    if (size < 1 || size > 1 << 24 || count < 1 || count > 1 << 20 || passes < 1) {
        fprintf(stderr, "usage: frames SIZE COUNT PASSES\n");
        return 2;
    }
    size_t frame = HEADER + (size_t)size, total = frame * (size_t)count;
    unsigned char *data = malloc(total);
    if (data == NULL) {
        perror("frames: memory");
        return 1;
    }
    memset(data, 'x', total);
    for (long i = 0; i < count; i++)
        for (int byte = 0; byte < HEADER; byte++)
            data[frame * (size_t)i + (size_t)byte] =
                (unsigned char)((unsigned long)size >> (24 - 8 * byte));

    /* Written through a volatile pointer, so that the compiler cannot drop the walk. */
    const unsigned char *last = data;
    const unsigned char *volatile kept;
    size_t seen = walk(data, total, &last);
    double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (long pass = 0; pass < passes; pass++) {
        seen += walk(data, total, &last);
        kept = last;
    }
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    wall = seconds(CLOCK_MONOTONIC) - wall;
    (void)kept;
    if (seen != (size_t)(passes + 1) * (size_t)count) {
        fprintf(stderr, "frames: the walk went wrong\n");
        return 1;
    }
    double done = (double)passes * (double)count;
    printf("{\"cpu\": %.4f, \"wall\": %.4f}\n", cpu / done * 1e9, wall / done * 1e9);
    free(data);
    return 0;
}
