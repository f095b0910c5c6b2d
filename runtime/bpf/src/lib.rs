//! Small programs that the kernel checks and runs ("BPF"): written here step by step, and loaded
//! without a loader's help. Neither a compiler nor an object file is needed.
//!
//! [`Assembler`] writes a program, [`Program`] is one that the kernel has taken, [`Map`] what
//! programs and we share. Who hangs a program where, and what it decides, is told where it is
//! written.

mod assembler;
mod kernel;

pub use assembler::{
    Assembler, AssemblyError, Helper, Instruction, Operand, R0, R1, R2, R3, R4, R5, R6, R7, R8, R9,
    Register, STACK, Size, Test,
};
pub use kernel::{Map, MapKind, Program, ProgramKind, with_locked_memory};
