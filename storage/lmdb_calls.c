/* The calls that LMDB 0.9 writes pages with (mdb_page_flush), as symbols of the daemon: the dynamic
 * linker finds them before libc's. Linked into the daemon alone: tests have others in this place.
 */
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "storage/lmdb_write.h"

static ssize_t written(int fd, off_t offset, ssize_t n)
{
    if (n <= 0 || offset < 0 || !lmdb_write_in_steps())
        return n;
    return lmdb_write_step(fd, offset, (size_t)n) ? n : -1;
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    return written(fd, offset, syscall(SYS_pwrite64, fd, bytes, size, offset));
}

ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    off_t offset = lmdb_write_in_steps() ? lseek(fd, 0, SEEK_CUR) : -1; /* LMDB moved there */
    return written(fd, offset, syscall(SYS_writev, fd, pieces, count));
}
