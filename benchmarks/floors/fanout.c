/* The floor under many HTTP requests at once: connections served by one epoll loop.
 *
 *     fanout SOCKET CALLS CONNECTIONS REQUEST [FIRST]
 *
 * Each connection has one request under way and sends the next as soon as its reply is there.
 * Nothing is parsed: the first reply, read by its Content-Length or to the last chunk, tells how
 * long each one is. FIRST is what is asked for it, where a single REQUEST would have no reply.
 * Every connection makes the same number of calls: CALLS are rounded up to that.
 * Prints client CPU and wall time per call in microseconds, as JSON.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { REPLY_BYTES = 64 * 1024, MAX_CONNECTIONS = 1024, BATCH = 512 };

struct line {
    int fd;
    size_t missing;
};

static char reply[REPLY_BYTES + 1];
static struct line lines[MAX_CONNECTIONS];
static const char *request;
static size_t request_size, reply_size;
static int poller;
static long connections;

static void fail(const char *what)
{
    fprintf(stderr, "fanout: %s: %s\n", what, errno ? strerror(errno) : "the server closed it");
    exit(1);
}

static double seconds(clockid_t clock)
{
    struct timespec now;
    if (clock_gettime(clock, &now) < 0)
        fail("clock");
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* A small request into an empty socket goes in whole; anything else is a fault. */
static void ask(struct line *line)
{
    ssize_t sent = send(line->fd, request, request_size, MSG_NOSIGNAL);
    if (sent < 0 || (size_t)sent != request_size)
        fail("send");
    line->missing = reply_size;
}

static size_t receive(int fd, char *into, size_t room)
{
    ssize_t got = recv(fd, into, room, 0);
    if (got == 0)
        errno = 0;
    if (got <= 0)
        fail("recv");
    return (size_t)got;
}

/* How long the reply is, of which `size` bytes are there; 0 when that cannot be said yet. A
 * chunked one is taken to end where the bytes so far end with a last chunk: the server sends
 * nothing after it. */
static size_t whole(size_t size)
{
    const char *end = strstr(reply, "\r\n\r\n");
    if (end == NULL)
        return 0;
    const char *length = strcasestr(reply, "\r\ncontent-length:");
    if (length != NULL && length < end)
        return (size_t)(end - reply) + 4 + strtoul(length + 17, NULL, 10);
    return memcmp(reply + size - 5, "0\r\n\r\n", 5) == 0 ? size : 0;
}

static void first_reply(int fd)
{
    size_t size = 0;
    do {
        if (size == REPLY_BYTES) {
            errno = EMSGSIZE;
            fail("reply");
        }
        size += receive(fd, reply + size, REPLY_BYTES - size);
        reply[size] = 0;
        reply_size = whole(size);
    } while (reply_size == 0 || size < reply_size);
}

/* Make that many calls; what is under way at the end is read as well. */
static void exchange(long calls)
{
    static struct epoll_event found[BATCH];
    long asked = 0, done = 0;
    for (long i = 0; i < connections && asked < calls; i++, asked++)
        ask(&lines[i]);
    while (done < calls) {
        int count = epoll_wait(poller, found, BATCH, -1);
        if (count < 0 && errno != EINTR)
            fail("epoll_wait");
        for (int i = 0; i < count; i++) {
            struct line *line = found[i].data.ptr;
            size_t got = receive(line->fd, reply, REPLY_BYTES);
            if (got > line->missing) {
                errno = EPROTO;
                fail("more came than was asked for");
            }
            line->missing -= got;
            if (line->missing)
                continue;
            done++;
            if (asked < calls) {
                ask(line);
                asked++;
            }
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 5 || argc > 6) {
        fprintf(stderr, "usage: fanout SOCKET CALLS CONNECTIONS REQUEST [FIRST]\n");
        return 2;
    }
    long calls = atol(argv[2]);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    connections = atol(argv[3]);
    request = argv[4];
    request_size = strlen(request);
    if (calls < 1 || connections < 1 || connections > MAX_CONNECTIONS || request_size == 0 ||
        request_size > 64 * 1024 || strlen(argv[1]) >= sizeof address.sun_path) {
        fprintf(stderr, "fanout: an argument is out of range\n");
        return 2;
    }
    strcpy(address.sun_path, argv[1]);
    poller = epoll_create1(0);
    if (poller < 0)
        fail("epoll_create");
    for (long i = 0; i < connections; i++) {
        struct line *line = &lines[i];
        line->fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (line->fd < 0)
            fail("socket");
        if (connect(line->fd, (struct sockaddr *)&address, sizeof address) < 0)
            fail(argv[1]);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = line};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, line->fd, &event) < 0)
            fail("epoll_ctl");
    }
    const char *every = request;
    request = argc == 6 ? argv[5] : every;
    request_size = strlen(request);
    ask(&lines[0]);
    first_reply(lines[0].fd);
    request = every;
    request_size = strlen(request);

    /* Requests that wait for one another come from all connections, or from none. */
    calls = (calls + connections - 1) / connections * connections;
    exchange((calls / 10 + connections) / connections * connections);
    double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    exchange(calls);
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    wall = seconds(CLOCK_MONOTONIC) - wall;
    printf("{\"cpu\": %.4f, \"wall\": %.4f}\n", cpu / (double)calls * 1e6,
           wall / (double)calls * 1e6);
    return 0;
}
