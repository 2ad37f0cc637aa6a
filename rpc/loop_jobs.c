#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "rpc/loop_internal.h"

static void wake(struct loop_jobs *j)
{
    uint64_t one = 1;
    ssize_t n = write(j->wake_fd, &one, sizeof one);
    ASSERT(n == sizeof one); /* blocks only at 2^64 - 1 wake-ups unread */
}

/* NULL: the loop closes, and the queue is empty. */
static struct io_job *job_next(struct loop_lane *lane)
{
    struct loop_jobs *j = lane->jobs;
    pthread_mutex_lock(&j->lock);
    while (list_is_empty(&lane->queued) && !j->stopping)
        pthread_cond_wait(&lane->wanted, &j->lock);
    struct list *link = list_pop_front(&lane->queued);
    pthread_mutex_unlock(&j->lock);
    return link ? LIST_ENTRY(link, struct io_job, link) : NULL;
}

/* Where cores are scarce the loop goes before a flush: whatever waits for it is measured in
 * microseconds. Behind a long read a client waits, too. On Linux a thread has a nice value of its
 * own. */
static void yield_to_loop(const struct loop_lane *lane)
{
    enum { WORK_NICE = 10 };
    if (lane == &lane->jobs->lanes[IO_LANE_WORK])
        IGNORE(setpriority(PRIO_PROCESS, (id_t)gettid(), WORK_NICE), "it runs all the same");
}

static void *thread_main(void *arg)
{
    struct loop_lane *lane = arg;
    yield_to_loop(lane);
    struct loop_jobs *j = lane->jobs;
    for (struct io_job *job = job_next(lane); job; job = job_next(lane)) {
        job->run(job);
        pthread_mutex_lock(&j->lock);
        bool first = list_is_empty(&j->finished);
        list_push_back(&j->finished, &job->link);
        pthread_mutex_unlock(&j->lock);
        if (first)
            wake(j);
    }
    return NULL;
}

/* Signals are for the loop's signalfd, so no job thread takes any. */
static int threads_start(struct loop_lane *lane, uint32_t count)
{
    sigset_t all, before;
    sigfillset(&all);
    int err = pthread_sigmask(SIG_SETMASK, &all, &before);
    while (err == 0 && lane->thread_count < count) {
        err = pthread_create(&lane->threads[lane->thread_count], NULL, thread_main, lane);
        if (err == 0)
            lane->thread_count++;
    }
    IGNORE(pthread_sigmask(SIG_SETMASK, &before, NULL), "only an unknown first argument fails");
    return -err;
}

static void lane_init(struct loop_jobs *j, struct loop_lane *lane)
{
    lane->jobs = j;
    list_init(&lane->queued);
    pthread_cond_init(&lane->wanted, NULL);
}

int loop_jobs_open(struct loop *l, const char **ret_call)
{
    struct loop_jobs *j = &l->jobs;
    list_init(&j->finished);
    *ret_call = "eventfd";
    j->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (j->wake_fd < 0)
        return -errno;
    pthread_mutex_init(&j->lock, NULL);
    for (size_t i = 0; i < IO_LANE_COUNT; i++)
        lane_init(j, &j->lanes[i]);
    j->is_open = true;
    *ret_call = "pthread_create";
    int err = 0;
    for (size_t i = 0; i < IO_LANE_COUNT && err == 0; i++)
        err = threads_start(&j->lanes[i], l->options.thread_counts[i]);
    if (err < 0)
        return err;
    *ret_call = "io_uring read";
    struct loop_op *op;
    err = loop_op_take(l, LOOP_OP_WAKE, j->wake_fd, NULL, &op);
    return err < 0 ? err : loop_op_begin(l, op, NULL);
}

void loop_jobs_close(struct loop *l)
{
    struct loop_jobs *j = &l->jobs;
    if (!j->is_open)
        return;
    pthread_mutex_lock(&j->lock);
    j->stopping = true;
    for (size_t i = 0; i < IO_LANE_COUNT; i++)
        pthread_cond_broadcast(&j->lanes[i].wanted);
    pthread_mutex_unlock(&j->lock);
    for (size_t i = 0; i < IO_LANE_COUNT; i++) {
        for (uint32_t k = 0; k < j->lanes[i].thread_count; k++)
            pthread_join(j->lanes[i].threads[k], NULL);
        pthread_cond_destroy(&j->lanes[i].wanted);
    }
    pthread_mutex_destroy(&j->lock);
    close(j->wake_fd);
    j->is_open = false;
}

void loop_jobs_offload(struct io *io, struct io_job *job)
{
    struct loop *l = loop_of(io);
    struct loop_jobs *j = &l->jobs;
    struct loop_lane *lane = &j->lanes[job->lane];
    j->unfinished++;
    l->counters.jobs_started++;
    pthread_mutex_lock(&j->lock);
    list_push_back(&lane->queued, &job->link);
    pthread_cond_signal(&lane->wanted);
    pthread_mutex_unlock(&j->lock);
}

void loop_jobs_pause(struct io *io, uint32_t us)
{
    (void)io;
    struct timespec left = { .tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000 };
    IGNORE(nanosleep(&left, NULL), "a rest cut short is one, too");
}

/* Takes what is there now: jobs that finish meanwhile write to the eventfd again. */
static void jobs_finish(struct loop_jobs *j)
{
    struct list done;
    list_init(&done);
    pthread_mutex_lock(&j->lock);
    for (struct list *link = list_pop_front(&j->finished); link;
         link = list_pop_front(&j->finished))
        list_push_back(&done, link);
    pthread_mutex_unlock(&j->lock);
    for (struct list *link = list_pop_front(&done); link; link = list_pop_front(&done)) {
        struct io_job *job = LIST_ENTRY(link, struct io_job, link);
        ASSERT(j->unfinished > 0);
        j->unfinished--;
        job->done(job);
    }
}

void loop_wake_prepare(struct loop *l, struct loop_op *op, struct io_uring_sqe *sqe)
{
    io_uring_prep_read(sqe, op->fd, &l->jobs.wake_count, sizeof l->jobs.wake_count, 0);
}

void loop_wake_on_cqe(struct loop *l, struct loop_op *op, int32_t result)
{
    if (op->cancelled && result < 0) {
        loop_op_finish(l, op, result);
        return;
    }
    /* Asked for again before the jobs' owners run: none can finish unnoticed in between. */
    loop_op_again(l, op);
    jobs_finish(&l->jobs);
}
