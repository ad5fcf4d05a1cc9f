/// What an archive may ask for. Each default is far above what images contain and far below what hurts a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnpackLimits {
    /// Members. Default: two million.
    pub entries: u64,
    /// Bytes of file contents and of what follows the end of the archive, in total; also the size of one file, holes
    /// included. Default: 64 GiB.
    pub unpacked_bytes: u64,
    /// The name of a member or the target of a link. Default: 4095, the longest the kernel takes (`PATH_MAX`).
    pub path_bytes: u64,
    /// Names and values of the extended attributes of one member. Default: 1 MiB (the kernel takes 64 KiB a value).
    pub xattr_bytes: u64,
    /// Extended headers, long names and sparse maps of one member. Default: 4 MiB.
    pub pax_bytes: u64,
    /// The same of all members. Default: 512 MiB (GNU tar writes about 100 bytes a member).
    pub pax_total_bytes: u64,
}

impl Default for UnpackLimits {
    fn default() -> Self {
        Self {
            entries: 2_000_000,
            unpacked_bytes: 64 << 30,
            path_bytes: 4095,
            xattr_bytes: 1 << 20,
            pax_bytes: 4 << 20,
            pax_total_bytes: 512 << 20,
        }
    }
}
