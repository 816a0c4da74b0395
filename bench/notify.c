/* The least a supervisor can do: runs "answer|continue PROGRAM ..." with getsockname(2) trapped by
   seccomp user notification, and answers each call with 0, or lets it go on. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif
#define SYNC_WAKE_UP 1UL

static struct sock_filter code[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getsockname, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

/* What the two processes tell each other: they cannot use a call that is trapped. */
static volatile struct { int listener, taken; } *shared;

static void fail(const char *what)
{
    perror(what);
    exit(125);
}

static void become(char **argv)
{
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    unsigned flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    int listener;

    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    if (listener < 0)
        fail("seccomp");
    shared->listener = listener;
    while (!shared->taken)
        usleep(100);
    execvp(*argv, argv);
    fail(*argv);
}

int main(int argc, char **argv)
{
    unsigned flags;
    int status, listener;
    pid_t pid;

    if (argc < 3)
        return 2;
    flags = strcmp(argv[1], "continue") ? 0 : SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    shared = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    shared->listener = -1;
    pid = fork();
    if (pid == 0)
        become(argv + 2);
    while (shared->listener < 0) {
        if (waitpid(pid, &status, WNOHANG))
            return 125;
        usleep(100);
    }
    listener = syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, pid, 0), shared->listener, 0);
    if (listener < 0)
        fail("pidfd_getfd");
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP); /* before Linux 6.6 it is slow */
    shared->taken = 1;
    for (;;) {
        struct pollfd ready = {listener, POLLIN, 0};
        struct seccomp_notif call = {0};
        struct seccomp_notif_resp answer = {0};

        if (poll(&ready, 1, -1) < 0)
            continue;
        if (!(ready.revents & POLLIN))
            break;
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) < 0)
            continue;
        answer.id = call.id;
        answer.flags = flags;
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 125;
}
