//! Devices on hosts where cgroups have only their second version: a program in the kernel decides who opens what.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use super::settings::Limit;

/// Lets the processes of a v2 cgroup, and of those below it, use only the devices that `devices.deny` and
/// `devices.allow` leave them. The restriction goes with the cgroup.
pub(crate) fn restrict(cgroup: &Path, limits: &[Limit]) -> io::Result<()> {
    let rules = limits.iter().filter_map(Rule::from_limit).collect::<Result<Vec<_>, _>>()?;
    if rules.is_empty() {
        return Ok(());
    }
    let program = load(&compile(&rules))?;
    attach(&program, &File::open(cgroup)?)
}

/// `c 1:3 rwm`, allowed or denied. `None` in a number stands for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    allows: bool,
    kind: Option<i32>,
    major: Option<i32>,
    minor: Option<i32>,
    access: i32,
}

impl Rule {
    fn from_limit(limit: &Limit) -> Option<io::Result<Self>> {
        let allows = match limit.file.as_str() {
            "devices.allow" => true,
            "devices.deny" => false,
            _ => return None,
        };
        let refuse = || io::Error::new(io::ErrorKind::InvalidInput, format!("`{}` is no device rule", limit.value));
        Some(Self::parse(allows, &limit.value).ok_or_else(refuse))
    }

    fn parse(allows: bool, text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let kind = match words.next()? {
            "a" => None,
            "b" => Some(BLOCK),
            "c" => Some(CHARACTER),
            _ => return None,
        };
        let (major, minor) = match words.next() {
            Some(numbers) => numbers.split_once(':')?,
            None if kind.is_none() => ("*", "*"),
            None => return None,
        };
        let number = |text: &str| if text == "*" { Some(None) } else { text.parse().ok().map(Some) };
        let access = words.next().unwrap_or("rwm").chars().try_fold(0, |access, letter| match letter {
            'm' => Some(access | MKNOD),
            'r' => Some(access | READ),
            'w' => Some(access | WRITE),
            _ => None,
        })?;
        Some(Self { allows, kind, major: number(major)?, minor: number(minor)?, access })
    }
}

/// An instruction of the kernel's machine (`include/uapi/linux/bpf.h`, `struct bpf_insn`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction {
    code: u8,
    /// Destination in the low half, source in the high half.
    registers: u8,
    offset: i16,
    immediate: i32,
}

impl Instruction {
    const fn new(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Self {
        Self { code, registers: destination | source << 4, offset, immediate }
    }
}

/// The later rule wins: rules are asked from the last to the first, and the first that fits decides. When none fits, the
/// answer is yes, as in a v1 cgroup without rules.
fn compile(rules: &[Rule]) -> Vec<Instruction> {
    // The argument is three 32-bit words: access in the high half and kind in the low half of the first, major, minor.
    let mut program = vec![
        Instruction::new(LOAD_WORD, KIND, ARGUMENT, 0, 0),
        Instruction::new(LOAD_WORD, ACCESS, ARGUMENT, 0, 0),
        Instruction::new(AND, KIND, 0, 0, 0xffff),
        Instruction::new(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        Instruction::new(LOAD_WORD, MAJOR, ARGUMENT, 4, 0),
        Instruction::new(LOAD_WORD, MINOR, ARGUMENT, 8, 0),
    ];
    for rule in rules.iter().rev() {
        program.extend(compile_rule(*rule));
    }
    program.extend(answer(true));
    program
}

fn compile_rule(rule: Rule) -> Vec<Instruction> {
    let mut body = Vec::new();
    let conditions = [(KIND, rule.kind), (MAJOR, rule.major), (MINOR, rule.minor)];
    for (register, wanted) in conditions {
        body.extend(wanted.map(|wanted| Instruction::new(JUMP_UNLESS_EQUAL, register, 0, 0, wanted)));
    }
    // What is allowed must be allowed in full; what is denied is denied in part.
    let (mask, jump) = if rule.allows { (ALL & !rule.access, JUMP_UNLESS_EQUAL) } else { (rule.access, JUMP_IF_EQUAL) };
    if mask != 0 {
        body.push(Instruction::new(COPY, RESULT, ACCESS, 0, 0));
        body.push(Instruction::new(AND, RESULT, 0, 0, mask));
        body.push(Instruction::new(jump, RESULT, 0, 0, 0));
    }
    body.extend(answer(rule.allows));
    let length = body.len();
    for (place, instruction) in body.iter_mut().enumerate() {
        if matches!(instruction.code, JUMP_UNLESS_EQUAL | JUMP_IF_EQUAL) {
            instruction.offset = i16::try_from(length - place - 1).unwrap_or(i16::MAX);
        }
    }
    body
}

fn answer(yes: bool) -> [Instruction; 2] {
    [Instruction::new(SET, RESULT, 0, 0, i32::from(yes)), Instruction::new(EXIT, 0, 0, 0, 0)]
}

/// The arguments of `bpf(BPF_PROG_LOAD)`, as far as they are used.
#[repr(C)]
struct LoadArguments {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The arguments of `bpf(BPF_PROG_ATTACH)`, as far as they are used.
#[repr(C)]
struct AttachArguments {
    target: i32,
    program: i32,
    kind: u32,
    flags: u32,
}

#[allow(unsafe_code, reason = "bpf(2) has no safe wrapper")]
fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    let arguments = LoadArguments {
        kind: CGROUP_DEVICE_PROGRAM,
        instruction_count: u32::try_from(program.len()).map_err(io::Error::other)?,
        instructions: program.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: the kernel reads the arguments, the instructions and the license, which all live through the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, LOAD, &raw const arguments, size_of::<LoadArguments>()) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just made the descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[allow(unsafe_code, reason = "bpf(2) has no safe wrapper")]
fn attach(program: &OwnedFd, cgroup: &File) -> io::Result<()> {
    let arguments = AttachArguments {
        target: cgroup.as_raw_fd(),
        program: program.as_raw_fd(),
        kind: CGROUP_DEVICE_ATTACHMENT,
        flags: ALLOW_MULTI,
    };
    // SAFETY: the kernel reads the arguments, which live through the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, ATTACH, &raw const arguments, size_of::<AttachArguments>()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;
const MKNOD: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;
const ALL: i32 = MKNOD | READ | WRITE;

const RESULT: u8 = 0;
const ARGUMENT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

const LOAD_WORD: u8 = 0x61;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const SET: u8 = 0xb7;
const COPY: u8 = 0xbf;
const JUMP_IF_EQUAL: u8 = 0x15;
const JUMP_UNLESS_EQUAL: u8 = 0x55;
const EXIT: u8 = 0x95;

const LOAD: libc::c_long = 5;
const ATTACH: libc::c_long = 8;
const CGROUP_DEVICE_PROGRAM: u32 = 15;
const CGROUP_DEVICE_ATTACHMENT: u32 = 6;
const ALLOW_MULTI: u32 = 2;
/// The program is part of ours; it calls no function of the kernel that asks for another licence.
const LICENSE: &std::ffi::CStr = c"Apache-2.0";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::builtin;

    /// Runs a program the way the kernel would.
    fn decide(program: &[Instruction], kind: i32, access: i32, major: i32, minor: i32) -> bool {
        let mut registers = [0_i64; 11];
        let mut next = 0;
        loop {
            let instruction = program[next];
            let destination = usize::from(instruction.registers & 15);
            let source = usize::from(instruction.registers >> 4);
            let immediate = i64::from(instruction.immediate);
            next += 1;
            match instruction.code {
                LOAD_WORD => {
                    let words = [access << 16 | kind, major, minor];
                    registers[destination] = i64::from(words[usize::try_from(instruction.offset).unwrap() / 4]);
                }
                AND => registers[destination] &= immediate,
                SHIFT_RIGHT => registers[destination] >>= immediate,
                SET => registers[destination] = immediate,
                COPY => registers[destination] = registers[source],
                JUMP_IF_EQUAL | JUMP_UNLESS_EQUAL => {
                    let equal = registers[destination] == immediate;
                    if equal == (instruction.code == JUMP_IF_EQUAL) {
                        next += usize::try_from(instruction.offset).unwrap();
                    }
                }
                EXIT => return registers[0] == 1,
                code => panic!("unknown instruction {code:#x}"),
            }
        }
    }

    fn program(rules: &[(bool, &str)]) -> Vec<Instruction> {
        compile(&rules.iter().map(|(allows, text)| Rule::parse(*allows, text).unwrap()).collect::<Vec<_>>())
    }

    fn default_program() -> Vec<Instruction> {
        let mut rules = vec![(false, "a")];
        rules.extend(builtin::DEVICES.map(|rule| (true, rule)));
        program(&rules)
    }

    #[test]
    fn the_default_list_opens_null_and_no_disk() {
        let program = default_program();
        assert!(decide(&program, CHARACTER, READ | WRITE, 1, 3), "/dev/null");
        assert!(decide(&program, CHARACTER, READ | WRITE, 136, 77), "/dev/pts/77");
        assert!(decide(&program, BLOCK, MKNOD, 8, 0), "mknod of /dev/sda");
        assert!(!decide(&program, BLOCK, READ, 8, 0), "/dev/sda");
        assert!(!decide(&program, BLOCK, MKNOD | READ, 8, 0));
        assert!(!decide(&program, CHARACTER, READ, 1, 1), "/dev/mem");
    }

    #[test]
    fn a_later_rule_wins() {
        let program = program(&[(false, "a"), (true, "c 1:* rwm"), (false, "c 1:1 w")]);
        assert!(decide(&program, CHARACTER, READ, 1, 1));
        assert!(!decide(&program, CHARACTER, READ | WRITE, 1, 1));
        assert!(decide(&program, CHARACTER, WRITE, 1, 3));
    }

    #[test]
    fn without_a_rule_that_fits_the_answer_is_yes() {
        assert!(decide(&program(&[(false, "b 8:* rw")]), CHARACTER, READ, 8, 0));
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for text in ["", "x 1:3 rwm", "c", "c 1 rwm", "c 1:x rwm", "c 1:3 rwx"] {
            assert_eq!(Rule::parse(true, text), None, "{text:?}");
        }
    }

    #[test]
    fn the_kernel_takes_the_program() {
        if !rustix::process::geteuid().is_root() {
            return testkit::skip("only root loads programs into the kernel");
        }
        load(&default_program()).unwrap();
    }
}
