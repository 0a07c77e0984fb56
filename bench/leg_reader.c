/* Reads the legs of N calls and measures the gaps between their frames, outside the process that paces them.
 *
 * Every leg is a WebSocket. With SEND 1 each frame that comes is answered by one frame of the caller at once, as a
 * scripted caller does (lock-step). No gap is left out: what lies between two frames of one leg, after the warm-up,
 * is counted whole.
 *
 * Usage: leg_reader PORT N WARM SECONDS PATH AUTH DIAL SEND BYTES SPEECH
 *   AUTH   the credentials of an HTTP Basic header, or "" for none
 *   DIAL   the first text message of each leg, or "" for none
 *   SEND   1 to answer each binary message with one of BYTES bytes
 *   SPEECH a file of raw audio in the leg's coding that the callers speak, over and over, or "" for silence
 * Prints START and END around the window, then one JSON line.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_US 2000000
#define BUFFER 65536

typedef struct {
    int fd, open;
    uint64_t last, first, final;
    uint64_t frames;
    long at; /* of the speech */
    int len;
    unsigned char buf[BUFFER];
} leg;

static uint32_t gaps[MAX_US + 1];

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* A masked frame of at most 65535 bytes: opcode 1 text, 2 binary. */
static int framed(unsigned char *out, int opcode, const unsigned char *payload, int size) {
    static const unsigned char mask[4] = {0x12, 0x34, 0x56, 0x78};
    int n = 0;
    out[n++] = (unsigned char)(0x80 | opcode);
    if (size < 126) {
        out[n++] = (unsigned char)(0x80 | size);
    } else {
        out[n++] = 0x80 | 126;
        out[n++] = (unsigned char)(size >> 8);
        out[n++] = (unsigned char)size;
    }
    memcpy(out + n, mask, 4);
    n += 4;
    for (int i = 0; i < size; i++) out[n++] = payload[i] ^ mask[i & 3];
    return n;
}

static void die(const char *what) {
    fprintf(stderr, "leg_reader: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int dialled(int port, const char *path, const char *auth, const char *dial) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    if (fd < 0 || connect(fd, (void *)&to, sizeof to)) die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    char request[2048];
    int n = snprintf(request, sizeof request,
                     "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s%s%s\r\n",
                     path, port, *auth ? "Authorization: Basic " : "", auth, *auth ? "\r\n" : "");
    if (write(fd, request, (size_t)n) != n) die("upgrade");
    /* The answer is read byte by byte: what follows it belongs to the frames. */
    char answer[4096];
    int len = 0;
    while (len < 4 || memcmp(answer + len - 4, "\r\n\r\n", 4)) {
        if (len == sizeof answer - 1 || read(fd, answer + len, 1) != 1) die("upgrade refused");
        len++;
    }
    answer[len] = 0;
    if (!strstr(answer, " 101 ")) {
        fprintf(stderr, "leg_reader: the upgrade was answered by %.60s\n", answer);
        exit(1);
    }
    if (*dial) {
        unsigned char message[4096];
        int size = framed(message, 1, (const unsigned char *)dial, (int)strlen(dial));
        if (write(fd, message, (size_t)size) != size) die("dial");
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

int main(int argc, char **argv) {
    if (argc != 11) {
        fprintf(stderr, "usage: leg_reader PORT N WARM SECONDS PATH AUTH DIAL SEND BYTES SPEECH\n");
        return 2;
    }
    int port = atoi(argv[1]), count = atoi(argv[2]), sends = atoi(argv[8]), bytes = atoi(argv[9]);
    double warm = atof(argv[3]), seconds = atof(argv[4]);
    unsigned char silence[2048];
    memset(silence, bytes == 160 ? 0xff : 0, sizeof silence);
    unsigned char *speech = silence;
    long speech_size = bytes;
    if (*argv[10]) {
        FILE *file = fopen(argv[10], "rb");
        if (!file) die(argv[10]);
        fseek(file, 0, SEEK_END);
        speech_size = ftell(file) / bytes * bytes;
        rewind(file);
        speech = malloc((size_t)speech_size);
        if (!speech || fread(speech, 1, (size_t)speech_size, file) != (size_t)speech_size) die("speech");
        fclose(file);
    }
    leg *legs = calloc((size_t)count, sizeof *legs);
    int poll = epoll_create1(0), lost = 0, ended = 0;
    if (!legs || poll < 0) die("start");
    uint64_t begin = 0, end = 0;
    int dialling = 0, state = 0;
    uint64_t next_dial = now();
    struct epoll_event ready[512];
    for (;;) {
        uint64_t t = now();
        /* 100 new calls a second, so that the ramp itself is no burst. */
        while (dialling < count && t >= next_dial) {
            legs[dialling].fd = dialled(port, argv[5], argv[6], argv[7]);
            legs[dialling].open = 1;
            struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)dialling};
            epoll_ctl(poll, EPOLL_CTL_ADD, legs[dialling].fd, &e);
            dialling++;
            next_dial += 10000000ull;
            if (dialling == count) begin = now() + (uint64_t)(warm * 1e9), end = begin + (uint64_t)(seconds * 1e9);
        }
        if (dialling == count && state == 0 && t >= begin) {
            state = 1;
            printf("START\n");
            fflush(stdout);
        }
        if (state == 1 && t >= end) {
            printf("END\n");
            fflush(stdout);
            break;
        }
        int n = epoll_wait(poll, ready, 512, dialling < count ? 5 : 50);
        for (int i = 0; i < n; i++) {
            leg *l = &legs[ready[i].data.u32];
            ssize_t r = read(l->fd, l->buf + l->len, sizeof l->buf - (size_t)l->len);
            if (r < 0 && errno == EAGAIN) continue;
            if (r <= 0) {
                epoll_ctl(poll, EPOLL_CTL_DEL, l->fd, NULL);
                l->open = 0;
                ended++;
                continue;
            }
            l->len += (int)r;
            uint64_t at = now();
            int used = 0;
            while (l->len - used >= 2) {
                int opcode = l->buf[used] & 15, size = l->buf[used + 1] & 127, head = 2;
                if (size == 126) {
                    if (l->len - used < 4) break;
                    size = l->buf[used + 2] << 8 | l->buf[used + 3];
                    head = 4;
                }
                if (l->len - used < head + size) break;
                used += head + size;
                int is_frame = *argv[7] ? opcode == 2 : opcode == 1;
                if (!is_frame) continue;
                if (state == 1) {
                    if (l->frames) {
                        uint64_t us = (at - l->last) / 1000;
                        gaps[us > MAX_US ? MAX_US : us]++;
                    } else {
                        l->first = at;
                    }
                    l->frames++;
                    l->final = at;
                }
                l->last = at;
                if (sends) {
                    unsigned char out[2100];
                    int out_size = framed(out, 2, speech + l->at, bytes);
                    l->at = (l->at + bytes) % speech_size;
                    if (send(l->fd, out, (size_t)out_size, MSG_NOSIGNAL) != out_size) lost++;
                }
            }
            if (used) memmove(l->buf, l->buf + used, (size_t)(l->len - used)), l->len -= used;
        }
    }
    uint64_t total = 0, seen = 0, frames = 0;
    double worst_drift = 0;
    for (int i = 0; i <= MAX_US; i++) total += gaps[i];
    for (int i = 0; i < count; i++) {
        leg *l = &legs[i];
        frames += l->frames;
        if (l->frames < 2) continue;
        double drift = (double)(l->final - l->first) / 1e6 - 20.0 * (double)(l->frames - 1);
        if (drift < 0 ? -drift > worst_drift : drift > worst_drift) worst_drift = drift < 0 ? -drift : drift;
    }
    double wanted[3] = {0.5, 0.9, 0.99};
    long found[3] = {0}, max = 0;
    int next = 0;
    for (long us = 0; us <= MAX_US; us++) {
        if (!gaps[us]) continue;
        max = us;
        seen += gaps[us];
        while (next < 3 && (double)seen >= wanted[next] * (double)total) found[next++] = us;
    }
    printf("{\"calls\":%d,\"frames\":%llu,\"p50_ms\":%.2f,\"p90_ms\":%.2f,\"p99_ms\":%.2f,\"max_ms\":%.2f,"
           "\"worst_drift_ms\":%.2f,\"unsent\":%d,\"ended\":%d}\n",
           count, (unsigned long long)frames, (double)found[0] / 1e3, (double)found[1] / 1e3, (double)found[2] / 1e3,
           (double)max / 1e3, worst_drift, lost, ended);
    return 0;
}
