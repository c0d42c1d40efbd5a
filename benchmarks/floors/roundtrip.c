/* The floor under an HTTP request: the same bytes sent and received, and nothing else.
 *
 *     roundtrip SOCKET CALLS REQUEST [poll]
 *
 * One connection, one request at a time. Nothing is parsed: the first reply is read to its end,
 * by Content-Length or to the last chunk, and tells how long each one is. A long reply, such as
 * a stream, is received in as many pieces as it comes in. With `poll` it asks for the reply
 * until it is there, as our blocking client does at first; without, it sleeps in recv, and pays
 * for being woken.
 * Prints client CPU and wall time per call in microseconds, as JSON.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 64 * 1024, FIRST_BYTES = 64 * 1024 * 1024 };

static char piece[PIECE];
static int recv_flags;

static void fail(const char *what)
{
    fprintf(stderr, "roundtrip: %s: %s\n", what, errno ? strerror(errno) : "the server closed it");
    exit(1);
}

static double seconds(clockid_t clock)
{
    struct timespec now;
    if (clock_gettime(clock, &now) < 0)
        fail("clock");
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void send_all(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            fail("send");
        data += sent;
        size -= (size_t)sent;
    }
}

/* Receive at least one byte. */
static size_t receive(int fd, char *into, size_t room)
{
    for (;;) {
        ssize_t got = recv(fd, into, room, recv_flags);
        if (got > 0)
            return (size_t)got;
        if (got == 0)
            errno = 0;
        if (got == 0 || (errno != EINTR && errno != EAGAIN))
            fail("recv");
    }
}

/* Whether the reply is whole. A chunked one is taken to end where the bytes so far end with a
 * last chunk: the server sends nothing after it. */
static int whole(const char *reply, size_t size)
{
    const char *end = memmem(reply, size, "\r\n\r\n", 4);
    if (end == NULL)
        return 0;
    const char *length = strcasestr(reply, "\r\ncontent-length:");
    if (length != NULL && length < end)
        return size >= (size_t)(end - reply) + 4 + strtoul(length + 17, NULL, 10);
    return memcmp(reply + size - 5, "0\r\n\r\n", 5) == 0;
}

static size_t first_reply(int fd)
{
    char *reply = malloc(FIRST_BYTES + 1);
    size_t size = 0;
    if (reply == NULL)
        fail("memory");
    do {
        if (size == FIRST_BYTES) {
            errno = EMSGSIZE;
            fail("reply");
        }
        size += receive(fd, reply + size, FIRST_BYTES - size);
        reply[size] = 0;
    } while (!whole(reply, size));
    free(reply);
    return size;
}

static void exchange(int fd, long calls, const char *request, size_t size, size_t reply_size)
{
    for (long call = 0; call < calls; call++) {
        send_all(fd, request, size);
        for (size_t missing = reply_size; missing;) {
            size_t got = receive(fd, piece, sizeof piece);
            if (got > missing) {
                errno = EPROTO;
                fail("more came than was asked for");
            }
            missing -= got;
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 4 || argc > 5 || (argc == 5 && strcmp(argv[4], "poll") != 0)) {
        fprintf(stderr, "usage: roundtrip SOCKET CALLS REQUEST [poll]\n");
        return 2;
    }
    recv_flags = argc == 5 ? MSG_DONTWAIT : 0;
    long calls = atol(argv[2]);
    const char *request = argv[3];
    size_t size = strlen(request);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (calls < 1 || size == 0 || strlen(argv[1]) >= sizeof address.sun_path) {
        fprintf(stderr, "roundtrip: an argument is out of range\n");
        return 2;
    }
    strcpy(address.sun_path, argv[1]);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0)
        fail("socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail(argv[1]);
    send_all(fd, request, size);
    size_t reply_size = first_reply(fd);

    exchange(fd, calls / 10 + 1, request, size, reply_size);
    double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    exchange(fd, calls, request, size, reply_size);
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    wall = seconds(CLOCK_MONOTONIC) - wall;
    printf("{\"cpu\": %.4f, \"wall\": %.4f}\n", cpu / (double)calls * 1e6,
           wall / (double)calls * 1e6);
    return 0;
}
