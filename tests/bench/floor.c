/* floor MOUNTPOINT [TEXT]: a FUSE file system of one file, `file`, whose text never changes and is made by nobody: the
 * least that reading through FUSE costs on this machine. As lxcfs-py does it: no page cache, and FLUSH is no request.
 * Build: cc -O2 -o floor floor.c $(pkg-config --cflags --libs fuse3) */
#define FUSE_USE_VERSION 312
#include <errno.h>
#include <fuse_lowlevel.h>
#include <string.h>
#include <sys/stat.h>

static const char text[] = "0.00 0.00 0.00 1/1 1\n";

static void attributes(fuse_ino_t inode, struct stat *to)
{
	memset(to, 0, sizeof *to);
	to->st_ino = inode;
	to->st_mode = inode == FUSE_ROOT_ID ? S_IFDIR | 0555 : S_IFREG | 0444;
	to->st_nlink = 1;
}

static void get_attributes(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file)
{
	struct stat found;
	(void)file;
	attributes(inode, &found);
	fuse_reply_attr(request, &found, 3600);
}

static void look_up(fuse_req_t request, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = {.ino = 2, .attr_timeout = 3600, .entry_timeout = 3600};
	if (parent != FUSE_ROOT_ID || strcmp(name, "file")) {
		fuse_reply_err(request, ENOENT);
		return;
	}
	attributes(2, &entry.attr);
	fuse_reply_entry(request, &entry);
}

static void open_file(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file)
{
	(void)inode;
	file->direct_io = 1;
	fuse_reply_open(request, file);
}

static void read_file(fuse_req_t request, fuse_ino_t inode, size_t size, off_t from, struct fuse_file_info *file)
{
	size_t left = from < (off_t)sizeof text - 1 ? sizeof text - 1 - from : 0;
	(void)inode, (void)file;
	fuse_reply_buf(request, text + sizeof text - 1 - left, left < size ? left : size);
}

static void flush(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file)
{
	(void)inode, (void)file;
	fuse_reply_err(request, ENOSYS);
}

int main(int count, char **words)
{
	static const struct fuse_lowlevel_ops operations = {
		.lookup = look_up, .getattr = get_attributes, .open = open_file, .read = read_file, .flush = flush,
	};
	char *options[] = {words[0], "-o", "allow_other", NULL};
	struct fuse_args arguments = FUSE_ARGS_INIT(3, options);
	struct fuse_session *session = fuse_session_new(&arguments, &operations, sizeof operations, NULL);
	if (count != 2 || !session || fuse_set_signal_handlers(session) || fuse_session_mount(session, words[1]))
		return 1;
	fuse_session_loop(session);
	fuse_session_unmount(session);
	fuse_session_destroy(session);
	return 0;
}
