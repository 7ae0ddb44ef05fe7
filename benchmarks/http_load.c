// A closed-loop load generator for the chat endpoint: N connections, each sends its next request as soon as the last
// answer is complete. One thread, epoll, about 6 microseconds a request, most of it in the kernel, so that it is not
// what limits the run.
//
//   http_load --port 8080 [--path /v1/chat/completions] [--model m-d0] [--connections 32] [--seconds 4]
//             [--requests N] [--stream] [--prompt-chars N] [--header 'Name: value']...
//
// With --requests it ends after that many, however long they take, and --seconds is the most that they may take (600).
// Every request carries another prompt, so no cache can answer it. With --prompt-chars the prompt has that many ASCII
// characters, if they are more than it has anyway (about 100). Prints one line of JSON: rps (answers complete in
// time, a second), n (all answers), bad (other statuses than 200, broken or unanswered), and the time from
// the first byte sent to the last byte received as p50_ms, p99_ms, mean_ms, max_ms (exact: every latency is kept).
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEAD_BYTES (16 * 1024)
#define READ_BYTES (256 * 1024)
#define REQUEST_BYTES (16 * 1024)
#define PROMPT_CHARS 4000 // the most that a prompt may have
#define FILLER " It lives at the edge of a wood, and comes to the village when the days are short and the nights are cold."
#define DRAIN_SECONDS 5 // an answer still missing so long after the end counts as bad

// Where in the answer the next byte belongs.
typedef enum { HEAD, BODY, CHUNK_SIZE, CHUNK_DATA, TRAILER } Phase;

typedef struct {
    int fd;
    int waiting; // a request is in flight
    uint64_t sent_at;
    Phase phase;
    char head[HEAD_BYTES];
    size_t head_used;
    int status;
    uint64_t left; // bytes of BODY or CHUNK_DATA to come; the size so far in CHUNK_SIZE
    int line_used; // of the line in CHUNK_SIZE or TRAILER
} Connection;

typedef struct {
    int port, connections, stream, prompt_chars;
    double seconds; // 0: not given
    uint64_t requests; // 0: as many as fit in the time
    const char *path, *model;
    char headers[4096];
} Options;

static Options options = {.connections = 32, .path = "/v1/chat/completions", .model = "m-d0"};
static int epoll_fd;
static uint64_t deadline;
static uint64_t prompts;     // sent so far: makes each prompt another
static uint64_t in_time;     // answers complete before the deadline
static uint64_t bad;
static uint64_t in_flight;
static uint64_t began, ended; // the first request, the last answer
static uint64_t *latencies;  // nanoseconds, one an answer
static size_t answers, latencies_size;

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("http_load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

// Is there time, and are there requests left, for one more?
static int goes_on(uint64_t now) {
    return now < deadline && (options.requests == 0 || prompts < options.requests);
}

// ---- sending ----

static void connect_again(Connection *c) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address))
        fail("cannot connect to 127.0.0.1:%d: %s", options.port, strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &e);
}

// The prompt of one request, another one each time.
static void write_prompt(char *prompt) {
    int size = snprintf(prompt, PROMPT_CHARS + 1,
                        "Tell me about the quick brown fox, in a few sentences please, and keep it short. "
                        "Question %llu [[%s]]",
                        (unsigned long long)++prompts, options.model);
    for (int i = 0; size < options.prompt_chars; size++, i++) prompt[size] = FILLER[i % (sizeof FILLER - 1)];
    prompt[size] = 0;
}

static void send_request(Connection *c) {
    char body[REQUEST_BYTES / 2], request[REQUEST_BYTES], prompt[PROMPT_CHARS + 1];
    write_prompt(prompt);
    int body_size = snprintf(body, sizeof body,
                             "{\"model\":\"%s\"%s,\"messages\":[{\"role\":\"system\",\"content\":\"You are a helpful "
                             "assistant.\"},{\"role\":\"user\",\"content\":\"%s\"}],\"temperature\":0.7,"
                             "\"max_tokens\":128}",
                             options.model, options.stream ? ",\"stream\":true" : "", prompt);
    int size = snprintf(request, sizeof request,
                        "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n%s"
                        "Content-Length: %d\r\n\r\n%s",
                        options.path, options.port, options.headers, body_size, body);
    c->phase = HEAD;
    c->head_used = 0;
    c->waiting = 1;
    in_flight++;
    c->sent_at = now_ns();
    // Half a kilobyte on a socket with nothing in flight: a short write means that something is badly wrong. An error
    // here (the peer closed) is seen by the read that follows.
    ssize_t sent = send(c->fd, request, (size_t)size, MSG_NOSIGNAL);
    if (sent >= 0 && sent < size) fail("the socket took %zd of %d bytes", sent, size);
}

// ---- receiving ----

static void keep_latency(uint64_t latency) {
    if (answers == latencies_size) {
        latencies_size = latencies_size ? latencies_size * 2 : 1 << 16;
        latencies = realloc(latencies, latencies_size * sizeof *latencies);
        if (!latencies) fail("out of memory");
    }
    latencies[answers++] = latency;
}

// The answer is complete: count it and send the next request while there is time.
static void complete(Connection *c) {
    uint64_t now = now_ns();
    keep_latency(now - c->sent_at);
    if (c->status != 200) bad++;
    if (now < deadline) in_time++;
    c->waiting = 0;
    in_flight--;
    ended = now;
    if (goes_on(now)) send_request(c);
}

static void broken(Connection *c) {
    if (c->waiting) {
        bad++;
        in_flight--;
    }
    c->waiting = 0;
    close(c->fd);
    c->fd = -1;
    if (!goes_on(now_ns())) return;
    connect_again(c);
    send_request(c);
}

// Read the status and how the body is framed. -1: not an answer that we can frame.
static int read_head(Connection *c, const char *end) {
    if (strncmp(c->head, "HTTP/1.1 ", 9)) return -1;
    c->status = atoi(c->head + 9);
    c->left = 0;
    c->phase = TRAILER; // stands for "not known yet"
    for (const char *line = c->head, *next; line < end; line = next + 2) {
        next = memmem(line, (size_t)(end + 2 - line), "\r\n", 2);
        if (!strncasecmp(line, "content-length:", 15)) {
            c->phase = BODY;
            c->left = strtoull(line + 15, NULL, 10);
        } else if (!strncasecmp(line, "transfer-encoding: chunked", 26)) {
            c->phase = CHUNK_SIZE;
            c->line_used = 0;
        }
    }
    return c->phase == TRAILER ? -1 : 0;
}

// Take bytes of the head. Returns how many, -1 when the answer makes no sense.
static int take_head(Connection *c, const char *data, size_t size) {
    size_t before = c->head_used, room = HEAD_BYTES - 1 - before;
    size_t taken = size < room ? size : room;
    memcpy(c->head + before, data, taken);
    c->head_used += taken;
    c->head[c->head_used] = 0;
    const char *end = memmem(c->head, c->head_used, "\r\n\r\n", 4);
    if (!end) return c->head_used == HEAD_BYTES - 1 ? -1 : (int)taken;
    if (read_head(c, end) < 0) return -1;
    return (int)((size_t)(end + 4 - c->head) - before);
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// One byte of the line that gives a chunk's size ("1f3\r\n"); an extension behind the size is not understood: -1.
static int take_size_byte(Connection *c, char byte) {
    if (byte == '\r') return 0;
    if (byte == '\n') {
        c->phase = c->left ? CHUNK_DATA : TRAILER;
        if (c->left) c->left += 2; // the CRLF behind the data
        c->line_used = 0;
        return 0;
    }
    if (c->line_used++ == 0) c->left = 0;
    int digit = hex_digit(byte);
    if (digit < 0) return -1;
    c->left = c->left * 16 + (uint64_t)digit;
    return 0;
}

// Skip bytes of a body or a chunk. Returns how many; moves on when it was the last.
static size_t skip(Connection *c, size_t size) {
    size_t taken = size < c->left ? size : (size_t)c->left;
    c->left -= taken;
    if (c->left == 0 && c->phase == CHUNK_DATA) c->phase = CHUNK_SIZE;
    return taken;
}

// Feed what was received. 1: the answer is complete, 0: more must come, -1: it makes no sense.
static int feed(Connection *c, const char *data, size_t size) {
    size_t at = 0;
    while (at < size) {
        if (c->phase == HEAD) {
            int taken = take_head(c, data + at, size - at);
            if (taken < 0) return -1;
            at += (size_t)taken;
            if (c->phase == BODY && c->left == 0) return 1;
        } else if (c->phase == BODY || c->phase == CHUNK_DATA) {
            at += skip(c, size - at);
            if (c->phase == BODY && c->left == 0) return at == size ? 1 : -1;
        } else if (c->phase == CHUNK_SIZE) {
            if (take_size_byte(c, data[at++]) < 0) return -1;
        } else if (data[at] == '\n') { // TRAILER: ends with an empty line
            at++;
            if (c->line_used == 0) return at == size ? 1 : -1;
            c->line_used = 0;
        } else if (data[at++] != '\r') {
            c->line_used++;
        }
    }
    return 0;
}

static void receive(Connection *c) {
    static char data[READ_BYTES];
    ssize_t size = recv(c->fd, data, sizeof data, MSG_DONTWAIT);
    if (size < 0 && errno == EAGAIN) return;
    int state = size > 0 && c->waiting ? feed(c, data, (size_t)size) : -1;
    if (state > 0) complete(c);
    else if (state < 0) broken(c);
}

// ---- the run ----

static void run(void) {
    Connection *connections = calloc((size_t)options.connections, sizeof *connections);
    began = now_ns();
    uint64_t end = began + (uint64_t)(options.seconds * 1e9), now;
    struct epoll_event events[256];
    deadline = end;
    epoll_fd = epoll_create1(0);
    for (int i = 0; i < options.connections && goes_on(began); i++) {
        connect_again(&connections[i]);
        send_request(&connections[i]);
    }
    while ((now = now_ns()) < end + DRAIN_SECONDS * 1000000000ull && in_flight) {
        int ready = epoll_wait(epoll_fd, events, 256, 100);
        for (int i = 0; i < ready; i++) receive(events[i].data.ptr);
    }
    bad += in_flight;
    free(connections);
}

static int ascending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static double latency_ms(double share) {
    if (answers == 0) return 0;
    size_t at = (size_t)(share * (double)answers);
    return (double)latencies[at < answers ? at : answers - 1] / 1e6;
}

static void report(void) {
    double sum = 0, seconds = options.seconds;
    if (options.requests && ended > began) seconds = (double)(ended - began) / 1e9;
    if (answers) qsort(latencies, answers, sizeof *latencies, ascending);
    for (size_t i = 0; i < answers; i++) sum += (double)latencies[i] / 1e6;
    printf("{\"rps\":%.1f,\"n\":%zu,\"bad\":%llu,\"p50_ms\":%.4f,\"p99_ms\":%.4f,\"mean_ms\":%.4f,\"max_ms\":%.4f}\n",
           (double)in_time / seconds, answers, (unsigned long long)bad, latency_ms(0.5), latency_ms(0.99),
           answers ? sum / (double)answers : 0, latency_ms(1));
}

static void add_header(const char *header) {
    size_t used = strlen(options.headers), room = sizeof options.headers - used;
    if ((size_t)snprintf(options.headers + used, room, "%s\r\n", header) >= room) fail("too many headers");
}

int main(int count, char **arguments) {
    static const struct option names[] = {
        {"port", required_argument, NULL, 'p'},    {"path", required_argument, NULL, 'u'},
        {"model", required_argument, NULL, 'm'},   {"connections", required_argument, NULL, 'c'},
        {"seconds", required_argument, NULL, 'd'}, {"header", required_argument, NULL, 'h'},
        {"stream", no_argument, NULL, 's'},        {"requests", required_argument, NULL, 'n'},
        {"prompt-chars", required_argument, NULL, 'l'},
        {NULL, 0, NULL, 0},
    };
    for (int option; (option = getopt_long(count, arguments, "", names, NULL)) != -1;) {
        if (option == 'p') options.port = atoi(optarg);
        else if (option == 'u') options.path = optarg;
        else if (option == 'm') options.model = optarg;
        else if (option == 'c') options.connections = atoi(optarg);
        else if (option == 'd') options.seconds = atof(optarg);
        else if (option == 'h') add_header(optarg);
        else if (option == 's') options.stream = 1;
        else if (option == 'l') options.prompt_chars = atoi(optarg);
        else if (option == 'n') options.requests = strtoull(optarg, NULL, 10);
        else return 2;
    }
    if (options.seconds == 0) options.seconds = options.requests ? 600 : 4;
    if (options.port <= 0 || options.connections <= 0 || options.seconds <= 0)
        fail("--port, --connections and --seconds must be above 0");
    if (options.prompt_chars > PROMPT_CHARS) fail("--prompt-chars may be %d at most", PROMPT_CHARS);
    run();
    report();
    return 0;
}
