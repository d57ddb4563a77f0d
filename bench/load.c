/* The load generator: what sends, receives, connects and waits while the harness looks at the processes between.
 *
 * Compiled and started by bench/generator.py. It touches loopback only and judges nothing: it prints facts, one JSON
 * object a line. bench/load.py has the same command line and the same output, for machines without a C compiler.
 *
 *   load target PORT...                          answers the commands below
 *   load line LISTEN TO DELAY_MS WINDOW_BYTES    delays what passes, see "the delay line"
 *   load bulk PORT up|down STREAMS BYTES WARMUP  moves BYTES over STREAMS connections
 *   load echo PORT COUNT SECONDS                 64-byte round trips on one connection
 *   load beside PORT COUNT SECONDS               the same, beside a bulk stream down
 *   load connect PORT COUNT PARALLEL SECONDS     connect, one byte there and back, close
 *   load idle PORT...                            "open N" (in all), "check" (a byte through each)
 *   load stall PORT reader|writer STREAMS        streams of which one end stops reading
 *
 * Each of the last six prints "ready" when its connections are up and warm, and begins when it reads a line.
 *
 * At the target a connection begins with a command: 'e' (all that follows is echoed), 'u' n (n bytes are read and
 * acknowledged by one), 'd' n (n bytes are sent), 's' n (nothing is read for n milliseconds, then it is reset);
 * n is eight bytes, little-endian. After 'u' and 'd' another command may follow.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CHUNK = 256 << 10,
    POOL = 4 << 20,         /* random bytes, sent over and over: nothing that compresses within a window */
    ECHO_BYTES = 64,
    WARM_ECHOES = 200,
    BESIDE_WARMUP = 8 << 20,
    BATCH = 32,             /* connections opened at once by `idle` */
    PATIENCE = 20,          /* seconds for what should take milliseconds */
    STALL_MS = 8000,
    LINE_CHUNK = 64 << 10,
    LINE_CHUNKS = 8192,
};

typedef int64_t ns_t;
static char *pool;

/* ---------------------------------------------------------------------------------------------- small parts */

static void fail(const char *what) {
    const char *why = errno == EAGAIN ? "nothing moved for too long" : errno ? strerror(errno) : "it ended early";
    printf("{\"error\": \"%s: %s\"}\n", what, why);
    exit(1);
}

static ns_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static struct timespec as_timespec(ns_t t) {
    return (struct timespec){.tv_sec = t / 1000000000, .tv_nsec = t % 1000000000};
}

static void sleep_until(ns_t t) {
    struct timespec at = as_timespec(t);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) {}
}

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static void set_options(int fd) {
    int on = 1;
    struct timeval patience = {.tv_sec = PATIENCE};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

static int dial(int port) {
    struct sockaddr_in a = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) return -1;
    set_options(fd);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0) return fd;
    close(fd);
    return -1;
}

static int listen_on(int port) {
    struct sockaddr_in a = loopback(port);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 4096)) fail("listen");
    return fd;
}

static void reset(int fd) {
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
}

static bool send_all(int fd, const void *data, size_t size) {
    for (size_t at = 0; at < size;) {
        ssize_t n = send(fd, (const char *)data + at, size - at, 0);
        if (n <= 0) return false;
        at += n;
    }
    return true;
}

static bool recv_all(int fd, void *data, size_t size) {
    for (size_t at = 0; at < size;) {
        errno = 0;
        ssize_t n = recv(fd, (char *)data + at, size - at, 0);
        if (n <= 0) return false;
        at += n;
    }
    return true;
}

static bool send_command(int fd, char command, uint64_t n) {
    char text[9] = {command};
    memcpy(text + 1, &n, 8);
    return send_all(fd, text, command == 'e' ? 1 : 9);
}

static bool send_random(int fd, uint64_t n) {
    for (uint64_t at = 0; at < n;) {
        size_t part = n - at < CHUNK ? n - at : CHUNK;
        if (!send_all(fd, pool + at % (POOL - CHUNK + 1), part)) return false;
        at += part;
    }
    return true;
}

static bool receive(int fd, char *buffer, uint64_t n, _Atomic uint64_t *moved, _Atomic ns_t *longest_pause) {
    ns_t last = now();
    for (uint64_t at = 0; at < n;) {
        errno = 0;
        ssize_t got = recv(fd, buffer, n - at < CHUNK ? n - at : CHUNK, 0);
        if (got <= 0) return false;
        at += got;
        if (!moved) continue;
        ns_t t = now();
        if (t - last > atomic_load(longest_pause)) atomic_store(longest_pause, t - last);
        last = t;
        atomic_fetch_add(moved, got);
    }
    return true;
}

static void fill_pool(void) {
    pool = malloc(POOL);
    for (size_t at = 0; at < POOL;) {
        ssize_t n = getrandom(pool + at, POOL - at, 0);
        if (n > 0) at += n;
    }
}

static pthread_t start(void *(*run)(void *), void *argument) {
    pthread_t thread;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 128 << 10);
    errno = pthread_create(&thread, &small, run, argument);
    if (errno) fail("thread");
    return thread;
}

/* Say that everything is up, and wait for the harness, which reads the processes' CPU time meanwhile. */
static char *be_ready(void) {
    static char line[64];
    printf("ready\n");
    if (!fgets(line, sizeof line, stdin)) exit(0);
    return line;
}

static int by_value(const void *a, const void *b) {
    ns_t x = *(const ns_t *)a, y = *(const ns_t *)b;
    return (x > y) - (x < y);
}

static double percentile(const ns_t *sorted, long count, double p) {
    long at = (long)ceil(p * count) - 1;
    return sorted[at < 0 ? 0 : at] / 1000.0;
}

/* Microseconds, and a histogram with sixteen buckets to a doubling: [bucket, count], bucket = floor(16 log2 ns). */
static void print_latencies(ns_t *sample, long count) {
    qsort(sample, count, sizeof *sample, by_value);
    printf("\"p50\": %.2f, \"p90\": %.2f, \"p99\": %.2f, \"p999\": %.2f, \"max\": %.2f, \"histogram\": [",
           percentile(sample, count, .5), percentile(sample, count, .9), percentile(sample, count, .99),
           percentile(sample, count, .999), sample[count - 1] / 1000.0);
    for (long i = 0, first = 0; i < count; i++) {
        int bucket = (int)(16 * log2(sample[i]));
        bool ends = i + 1 == count || (int)(16 * log2(sample[i + 1])) != bucket;
        if (!ends) continue;
        printf("%s[%d, %ld]", first ? ", " : "", bucket, i + 1 - first);
        first = i + 1;
    }
    printf("]");
}

/* ------------------------------------------------------------------------------------------------- the target */

struct errand { int fd; char command; };

static void *serve_stream(void *argument) {
    struct errand errand = *(struct errand *)argument;
    char *buffer = malloc(CHUNK);
    uint64_t n;
    bool fine = true;
    free(argument);
    while (fine && recv_all(errand.fd, &n, 8)) {
        if (errand.command == 's') {
            sleep_until(now() + n * 1000000LL);
            fine = false;
        } else if (errand.command == 'd') {
            fine = send_random(errand.fd, n);
        } else {
            fine = receive(errand.fd, buffer, n, NULL, NULL) && send_all(errand.fd, "k", 1);
        }
        if (fine && !recv_all(errand.fd, &errand.command, 1)) break;
    }
    free(buffer);
    if (fine) close(errand.fd); else reset(errand.fd);
    return NULL;
}

static void serve_ready(int epoll, int fd, bool *echoes, char *buffer) {
    ssize_t n = recv(fd, buffer, echoes[fd] ? CHUNK : 1, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n > 0 && echoes[fd] && send_all(fd, buffer, n)) return;
    if (n == 1 && !echoes[fd] && buffer[0] == 'e') {
        echoes[fd] = true;
        return;
    }
    epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
    if (n == 1 && !echoes[fd] && strchr("uds", buffer[0])) {
        struct errand *errand = malloc(sizeof *errand);
        *errand = (struct errand){fd, buffer[0]};
        pthread_detach(start(serve_stream, errand));
        return;
    }
    close(fd);
}

static void target(int count, char **ports) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    bool *echoes = calloc(limit.rlim_cur, 1), *listens = calloc(limit.rlim_cur, 1);
    char *buffer = malloc(CHUNK);
    int epoll = epoll_create1(0);
    for (int i = 0; i < count; i++) {
        int fd = listen_on(atoi(ports[i]));
        listens[fd] = true;
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.fd = fd});
    }
    printf("ready\n");
    for (;;) {
        struct epoll_event events[64];
        int n = epoll_wait(epoll, events, 64, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (!listens[fd]) {
                serve_ready(epoll, fd, echoes, buffer);
                continue;
            }
            while ((fd = accept4(events[i].data.fd, NULL, NULL, 0)) >= 0) {
                set_options(fd);
                echoes[fd] = false;
                epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.fd = fd});
            }
        }
    }
}

/* --------------------------------------------------------------------------------------------- the delay line
 * A relay that delays bytes, as a long path does, where the kernel has no netem. Bytes are handed on one delay after
 * they came. Their room in the window is free one delay after that, when TCP's acknowledgement would be back. And a
 * connection's first bytes leave no sooner than a handshake over that path would have taken: two delays.
 */

struct chunk { size_t size; ns_t due, free_at; };

struct direction {
    int from, to;
    ns_t delay, earliest;
    size_t window;
    char *ring;
    uint64_t received, freed;                     /* bytes */
    struct chunk chunks[LINE_CHUNKS];
    uint64_t pushed, sent, reclaimed;             /* chunks */
    pthread_mutex_t lock;
    pthread_cond_t moved;
    struct direction *other;
    atomic_int *users;
};

static struct chunk *chunk_at(struct direction *d, uint64_t index) { return &d->chunks[index % LINE_CHUNKS]; }

static void leave(struct direction *d) {
    if (atomic_fetch_sub(d->users, 1) > 1) return;
    close(d->from);
    close(d->to);
    free(d->users);
    struct direction *both[] = {d->other, d};
    for (int i = 0; i < 2; i++) {
        free(both[i]->ring);
        free(both[i]);
    }
}

/* With the lock held: wait until there is room, and say how much of it lies in one piece. */
static size_t wait_for_room(struct direction *d) {
    for (;;) {
        while (d->reclaimed < d->sent && chunk_at(d, d->reclaimed)->free_at <= now())
            d->freed += chunk_at(d, d->reclaimed++)->size;
        size_t used = d->received - d->freed, start = d->received % d->window, room = d->window - used;
        if (room && d->pushed - d->reclaimed < LINE_CHUNKS) {
            size_t piece = d->window - start < room ? d->window - start : room;
            return piece < LINE_CHUNK ? piece : LINE_CHUNK;
        }
        if (d->reclaimed == d->sent) {
            pthread_cond_wait(&d->moved, &d->lock);
        } else {
            struct timespec at = as_timespec(chunk_at(d, d->reclaimed)->free_at);
            pthread_cond_timedwait(&d->moved, &d->lock, &at);
        }
    }
}

static void *line_in(void *argument) {
    struct direction *d = argument;
    ssize_t n;
    do {
        pthread_mutex_lock(&d->lock);
        size_t room = wait_for_room(d);
        pthread_mutex_unlock(&d->lock);
        n = recv(d->from, d->ring + d->received % d->window, room, 0);
        if (n < 0) n = 0;
        ns_t t = now();
        pthread_mutex_lock(&d->lock);
        *chunk_at(d, d->pushed++) = (struct chunk){.size = n, .due = (t > d->earliest ? t : d->earliest) + d->delay};
        d->received += n;
        pthread_cond_signal(&d->moved);
        pthread_mutex_unlock(&d->lock);
    } while (n > 0);
    leave(d);
    return NULL;
}

static void *line_out(void *argument) {
    struct direction *d = argument;
    uint64_t at = 0;
    for (;;) {
        pthread_mutex_lock(&d->lock);
        while (d->sent == d->pushed) pthread_cond_wait(&d->moved, &d->lock);
        struct chunk chunk = *chunk_at(d, d->sent);
        pthread_mutex_unlock(&d->lock);
        sleep_until(chunk.due);
        if (chunk.size == 0) break;
        if (!send_all(d->to, d->ring + at % d->window, chunk.size)) {
            shutdown(d->from, SHUT_RD);     /* its reader will see an end; what still comes is dropped */
            d->delay = 0;
        }
        at += chunk.size;
        pthread_mutex_lock(&d->lock);
        chunk_at(d, d->sent++)->free_at = now() + d->delay;
        pthread_cond_signal(&d->moved);
        pthread_mutex_unlock(&d->lock);
    }
    shutdown(d->to, SHUT_WR);
    leave(d);
    return NULL;
}

static struct direction *make_direction(int from, int to, ns_t delay, ns_t earliest, size_t window) {
    struct direction *d = calloc(1, sizeof *d);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    *d = (struct direction){.from = from, .to = to, .delay = delay, .earliest = earliest, .window = window};
    d->ring = malloc(window);
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->moved, &monotonic);
    return d;
}

static void line(int port, int to, int delay_ms, size_t window) {
    int listener = listen_on(port);
    struct pollfd waiting = {.fd = listener, .events = POLLIN};
    printf("ready\n");
    for (;;) {
        poll(&waiting, 1, -1);
        int near = accept4(listener, NULL, NULL, 0);
        if (near < 0) continue;
        int far = dial(to), on = 1;
        if (far < 0) {
            reset(near);
            continue;
        }
        struct timeval never = {0};
        setsockopt(near, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(far, SOL_SOCKET, SO_RCVTIMEO, &never, sizeof never);
        ns_t delay = delay_ms * 1000000LL;
        struct direction *up = make_direction(near, far, delay, now() + 2 * delay, window);
        struct direction *down = make_direction(far, near, delay, 0, window);
        up->other = down;
        down->other = up;
        up->users = down->users = malloc(sizeof(atomic_int));
        atomic_store(up->users, 4);
        pthread_detach(start(line_in, up));
        pthread_detach(start(line_in, down));
        pthread_detach(start(line_out, up));
        pthread_detach(start(line_out, down));
    }
}

/* ------------------------------------------------------------------------------------------------------- bulk */

struct stream { int fd; bool up; uint64_t bytes; bool fine; };

static bool transfer(int fd, bool up, uint64_t bytes, char *buffer) {
    char acknowledgement;
    if (!send_command(fd, up ? 'u' : 'd', bytes)) return false;
    if (!up) return receive(fd, buffer, bytes, NULL, NULL);
    return send_random(fd, bytes) && recv_all(fd, &acknowledgement, 1);
}

static void *run_stream(void *argument) {
    struct stream *stream = argument;
    char *buffer = malloc(CHUNK);
    stream->fine = transfer(stream->fd, stream->up, stream->bytes, buffer);
    free(buffer);
    return NULL;
}

static void run_streams(struct stream *streams, int count, uint64_t bytes) {
    pthread_t threads[count];
    for (int i = 0; i < count; i++) {
        streams[i].bytes = bytes / count;
        threads[i] = start(run_stream, &streams[i]);
    }
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < count; i++)
        if (!streams[i].fine) fail("a bulk stream");
}

static void bulk(int port, bool up, int count, uint64_t bytes, uint64_t warmup) {
    struct stream streams[count];
    for (int i = 0; i < count; i++) {
        streams[i] = (struct stream){.fd = dial(port), .up = up};
        if (streams[i].fd < 0) fail("a connection");
    }
    run_streams(streams, count, warmup);
    be_ready();
    ns_t began = now();
    run_streams(streams, count, bytes);
    printf("{\"seconds\": %.6f, \"bytes\": %llu}\n", (now() - began) / 1e9, (unsigned long long)bytes / count * count);
}

/* ------------------------------------------------------------------------------------------------------- echo */

static ns_t echo_once(int fd, char *buffer, size_t size) {
    ns_t began = now();
    if (!send_all(fd, buffer, size) || !recv_all(fd, buffer, size)) fail("a round trip");
    return now() - began;
}

struct companion { int fd; _Atomic uint64_t moved; _Atomic ns_t longest_pause; atomic_bool done; };

static void *run_companion(void *argument) {
    struct companion *companion = argument;
    char *buffer = malloc(CHUNK);
    if (send_command(companion->fd, 'd', UINT64_MAX))
        receive(companion->fd, buffer, UINT64_MAX, &companion->moved, &companion->longest_pause);
    atomic_store(&companion->done, true);
    return NULL;
}

static void start_companion(struct companion *companion, int port) {
    companion->fd = dial(port);
    if (companion->fd < 0) fail("a connection");
    pthread_detach(start(run_companion, companion));
    ns_t deadline = now() + PATIENCE * 1000000000LL;
    while (atomic_load(&companion->moved) < BESIDE_WARMUP) {
        errno = 0;
        if (atomic_load(&companion->done) || now() > deadline) fail("the bulk stream beside");
        sleep_until(now() + 1000000);
    }
}

static void echo(int port, long count, double seconds, bool beside) {
    static struct companion companion;
    char buffer[ECHO_BYTES];
    ns_t *sample = calloc(count, sizeof *sample);
    int fd = dial(port);
    memcpy(buffer, pool, sizeof buffer);
    if (fd < 0 || !send_command(fd, 'e', 0)) fail("a connection");
    for (int i = 0; i < WARM_ECHOES; i++) echo_once(fd, buffer, sizeof buffer);
    if (beside) start_companion(&companion, port);
    be_ready();
    atomic_store(&companion.longest_pause, 0);
    uint64_t moved = atomic_load(&companion.moved);
    ns_t began = now(), until = began + (ns_t)(seconds * 1e9), ended = began;
    long done = 0;
    while (done < count && ended < until) {
        sample[done++] = echo_once(fd, buffer, sizeof buffer);
        ended = now();
    }
    errno = 0;
    if (atomic_load(&companion.done)) fail("the bulk stream beside");
    printf("{\"seconds\": %.6f, \"echoes\": %ld, ", (ended - began) / 1e9, done);
    if (beside) {
        printf("\"beside_bytes\": %llu, \"beside_pause\": %.6f, ",
               (unsigned long long)(atomic_load(&companion.moved) - moved), atomic_load(&companion.longest_pause) / 1e9);
        reset(companion.fd);
    }
    print_latencies(sample, done);
    printf("}\n");
}

/* ------------------------------------------------------------------------------------------------ connections */

struct dialler { int port; long count; ns_t until; atomic_long *taken; ns_t *sample; };

static bool exchange_one(int port) {
    char byte;
    int fd = dial(port);
    bool fine = fd >= 0 && send_all(fd, "ex", 2) && recv_all(fd, &byte, 1) && byte == 'x';
    if (fd >= 0) close(fd);
    return fine;
}

static void *run_dialler(void *argument) {
    struct dialler *dialler = argument;
    for (;;) {
        ns_t began = now();
        long index = began < dialler->until ? atomic_fetch_add(dialler->taken, 1) : dialler->count;
        if (index >= dialler->count) return NULL;
        if (!exchange_one(dialler->port)) fail("a new connection");
        dialler->sample[index] = now() - began;
    }
}

static void connections(int port, long count, int parallel, double seconds) {
    atomic_long taken = 0;
    pthread_t threads[parallel];
    struct dialler dialler = {.port = port, .count = count, .taken = &taken, .sample = calloc(count, sizeof(ns_t))};
    for (int i = 0; i < 2 * parallel && i < 16; i++)
        if (!exchange_one(port)) fail("a new connection");
    be_ready();
    ns_t began = now();
    dialler.until = began + (ns_t)(seconds * 1e9);
    for (int i = 0; i < parallel; i++) threads[i] = start(run_dialler, &dialler);
    for (int i = 0; i < parallel; i++) pthread_join(threads[i], NULL);
    double took = (now() - began) / 1e9;
    long done = atomic_load(&taken) < count ? atomic_load(&taken) : count;
    printf("{\"seconds\": %.6f, \"connections\": %ld, ", took, done);
    print_latencies(dialler.sample, done);
    printf("}\n");
}

/* ------------------------------------------------------------------------------------------------------- idle */

static void open_batch(int *fds, int count, int ports, char **port, long index) {
    char byte;
    for (int i = 0; i < count; i++) {
        fds[i] = dial(atoi(port[(index + i) % ports]));
        if (fds[i] < 0 || !send_all(fds[i], "ex", 2)) fail("an idle connection");
    }
    for (int i = 0; i < count; i++)
        if (!recv_all(fds[i], &byte, 1)) fail("an idle connection");
}

static void check_all(int *fds, long count) {
    char byte = 'y';
    long lost = 0;
    ns_t began = now();
    for (long i = 0; i < count; i++) send_all(fds[i], &byte, 1);   /* where this fails, the answer is missing */
    for (long i = 0; i < count; i++)
        if (!recv_all(fds[i], &byte, 1)) lost++;
    printf("{\"seconds\": %.6f, \"open\": %ld, \"lost\": %ld}\n", (now() - began) / 1e9, count, lost);
}

static void idle(int ports, char **port) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    int *fds = calloc(limit.rlim_cur, sizeof *fds);
    long open = 0;
    for (;;) {
        char *line = be_ready();
        if (strncmp(line, "open ", 5) != 0) {
            check_all(fds, open);
            continue;
        }
        ns_t began = now();
        for (long wanted = atol(line + 5); open < wanted;) {
            int batch = wanted - open < BATCH ? wanted - open : BATCH;
            open_batch(fds + open, batch, ports, port, open);
            open += batch;
        }
        printf("{\"seconds\": %.6f, \"open\": %ld}\n", (now() - began) / 1e9, open);
    }
}

/* ------------------------------------------------------------------------------------------------------ stall */

static void *pour(void *argument) {
    send_random(*(int *)argument, UINT64_MAX);
    return NULL;
}

static void stall(int port, bool reader, int count) {
    int fds[count];
    char *buffer = malloc(CHUNK);
    for (int i = 0; i < count; i++) {
        fds[i] = dial(port);
        if (fds[i] < 0 || !transfer(fds[i], !reader, BESIDE_WARMUP, buffer)) fail("a connection");
    }
    be_ready();
    for (int i = 0; i < count; i++) {
        if (!send_command(fds[i], reader ? 'd' : 's', reader ? UINT64_MAX : STALL_MS)) fail("a stream to stall");
        if (!reader) pthread_detach(start(pour, &fds[i]));
    }
    printf("{\"streams\": %d}\n", count);
    be_ready();
    for (int i = 0; i < count; i++) reset(fds[i]);
}

/* ------------------------------------------------------------------------------------------------------- main */

static bool is(const char *a, const char *b) { return strcmp(a, b) == 0; }

int main(int argc, char **argv) {
    char *mode = argc > 1 ? argv[1] : "";
    char **rest = argv + 2;
    int count = argc - 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    fill_pool();
    if (is(mode, "target") && count >= 1) target(count, rest);
    else if (is(mode, "line") && count == 4) line(atoi(rest[0]), atoi(rest[1]), atoi(rest[2]), atol(rest[3]));
    else if (is(mode, "bulk") && count == 5) bulk(atoi(rest[0]), is(rest[1], "up"), atoi(rest[2]), atoll(rest[3]), atoll(rest[4]));
    else if (is(mode, "echo") && count == 3) echo(atoi(rest[0]), atol(rest[1]), atof(rest[2]), false);
    else if (is(mode, "beside") && count == 3) echo(atoi(rest[0]), atol(rest[1]), atof(rest[2]), true);
    else if (is(mode, "connect") && count == 4) connections(atoi(rest[0]), atol(rest[1]), atoi(rest[2]), atof(rest[3]));
    else if (is(mode, "idle") && count >= 1) idle(count, rest);
    else if (is(mode, "stall") && count == 3) stall(atoi(rest[0]), is(rest[1], "reader"), atoi(rest[2]));
    else return fprintf(stderr, "load: what to do is said at the top of bench/load.c\n"), 2;
    return 0;
}
