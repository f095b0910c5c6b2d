//! The assembler: instructions as data, and labels to jump to. It knows what the programs of this
//! project need, no more.
//!
//! The numbers are those of the kernel's `linux/bpf.h` and of the instruction set's RFC 9669.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// One instruction. Most have eight bytes; setting 64 bits takes two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// What is done.
    pub code: u8,
    /// Where the result goes in one half of the byte, where it comes from in the other.
    pub registers: u8,
    /// In memory, or of a jump.
    pub offset: i16,
    /// What it is done with, if that is no register.
    pub value: i32,
}

/// One of the machine's registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Register(u8);

/// What functions answer and programs end with.
pub const R0: Register = Register(0);
/// The first of those that functions are called with; a call leaves none of them.
pub const R1: Register = Register(1);
/// The second of them.
pub const R2: Register = Register(2);
/// The third of them.
pub const R3: Register = Register(3);
/// The fourth of them.
pub const R4: Register = Register(4);
/// The last of them.
pub const R5: Register = Register(5);
/// The first of those that calls leave as they are.
pub const R6: Register = Register(6);
/// The second of them.
pub const R7: Register = Register(7);
/// The third of them.
pub const R8: Register = Register(8);
/// The last of them.
pub const R9: Register = Register(9);
/// The end of the stack, which grows downwards; it cannot be changed.
pub const STACK: Register = Register(10);

/// How much is loaded or stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// One byte.
    Byte = 0x10,
    /// Two bytes.
    Half = 0x08,
    /// Four bytes.
    Word = 0x00,
    /// Eight bytes.
    Double = 0x18,
}

/// When a jump is taken. All numbers are unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// They are the same.
    Equal = 0x10,
    /// The first is greater.
    Greater = 0x20,
    /// Any bit is set in both.
    Shares = 0x40,
    /// They differ.
    NotEqual = 0x50,
    /// The first is less, or the same.
    AtMost = 0xb0,
}

/// A function of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Helper {
    /// Finds an entry of a map.
    Lookup = 1,
    /// Adds an entry to a map, or changes it.
    Update = 2,
    /// Removes an entry of a map.
    Delete = 3,
    /// Sends a packet out by another interface.
    Redirect = 23,
    /// Has the first bytes of a packet in one piece.
    PullData = 39,
    /// The kernel's clock, in ticks.
    Jiffies = 118,
    /// Sends a packet to the other end of a link, in the namespace there.
    RedirectPeer = 155,
}

/// What a step works with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// What a register has.
    Register(Register),
    /// A number, of which the sign is kept.
    Value(i32),
}

/// A place in a program.
type Label = Cow<'static, str>;

/// Why there is no program. Only a mistake of its writer can be the cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssemblyError {
    /// A jump goes nowhere.
    #[error("there is no label {0}")]
    NoLabel(Label),
    /// A label is in two places.
    #[error("label {0} is set twice")]
    TwoLabels(Label),
    /// A jump is longer than an instruction can say.
    #[error("label {0} is too far away")]
    TooFar(Label),
}

/// A program that is being written.
#[derive(Debug, Default)]
pub struct Assembler {
    code: Vec<Instruction>,
    labels: BTreeMap<Label, usize>,
    jumps: Vec<(usize, Label)>,
    mistake: Option<AssemblyError>,
}

// Classes of instructions, the lowest three bits of the code.
const LOAD_VALUE: u8 = 0x00;
const LOAD: u8 = 0x01;
const STORE_VALUE: u8 = 0x02;
const STORE: u8 = 0x03;
const CALCULATE_32: u8 = 0x04;
const JUMP: u8 = 0x05;
const JUMP_32: u8 = 0x06;
const CALCULATE: u8 = 0x07;

// Parts of codes beside the class.
const MEMORY: u8 = 0x60;
const FROM_REGISTER: u8 = 0x08;
const ADD: u8 = 0x00;
const SUBTRACT: u8 = 0x10;
const OR: u8 = 0x40;
const AND: u8 = 0x50;
const SHIFT_LEFT: u8 = 0x60;
const SHIFT_RIGHT: u8 = 0x70;
const MOVE: u8 = 0xb0;
const CALL: u8 = 0x80;
const EXIT: u8 = 0x90;

// What the 64 bits of an instruction of two mean.
const MAP: Register = Register(1);
const MAP_VALUE: Register = Register(2);

impl From<Register> for Operand {
    fn from(register: Register) -> Self {
        Self::Register(register)
    }
}

impl From<i32> for Operand {
    fn from(value: i32) -> Self {
        Self::Value(value)
    }
}

impl Assembler {
    /// The program, with all jumps resolved.
    ///
    /// # Errors
    /// A label that is missing, set twice, or too far away.
    pub fn finish(mut self) -> Result<Vec<Instruction>, AssemblyError> {
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        for (from, label) in self.jumps {
            let Some(to) = self.labels.get(&label) else {
                return Err(AssemblyError::NoLabel(label));
            };
            // Counted from the instruction after the jump.
            let distance = *to as i64 - (from as i64 + 1);
            let distance = i16::try_from(distance).map_err(|_| AssemblyError::TooFar(label))?;
            if let Some(jump) = self.code.get_mut(from) {
                jump.offset = distance;
            }
        }
        Ok(self.code)
    }

    /// Names the place of what comes next.
    pub fn label(&mut self, label: impl Into<Cow<'static, str>>) {
        let label = label.into();
        if self.labels.insert(label.clone(), self.code.len()).is_some() {
            self.mistake = Some(AssemblyError::TwoLabels(label));
        }
    }

    /// Sets a register to what another has, or to a value of which the sign is kept.
    pub fn set(&mut self, to: Register, what: impl Into<Operand>) {
        self.calculate(MOVE, to, what);
    }

    /// Adds to a register.
    pub fn add(&mut self, to: Register, what: impl Into<Operand>) {
        self.calculate(ADD, to, what);
    }

    /// Takes away from a register.
    pub fn subtract(&mut self, from: Register, what: impl Into<Operand>) {
        self.calculate(SUBTRACT, from, what);
    }

    /// Sets further bits of a register.
    pub fn or(&mut self, to: Register, what: impl Into<Operand>) {
        self.calculate(OR, to, what);
    }

    /// Moves the bits of a register up.
    pub fn shift_left(&mut self, what: Register, bits: i32) {
        self.calculate(SHIFT_LEFT, what, bits);
    }

    /// Moves the bits of a register down; zeros follow.
    pub fn shift_right(&mut self, what: Register, bits: i32) {
        self.calculate(SHIFT_RIGHT, what, bits);
    }

    /// Keeps of the lower 32 bits those that `mask` has, and none of the upper.
    pub fn mask(&mut self, what: Register, mask: u32) {
        self.push(CALCULATE_32 | AND, what, None, 0, mask.cast_signed());
    }

    /// Reads from memory, at an offset of where a register points.
    pub fn load(&mut self, size: Size, to: Register, from: Register, offset: i16) {
        self.push(LOAD | MEMORY | size as u8, to, Some(from), offset, 0);
    }

    /// Writes to memory, at an offset of where a register points.
    pub fn store(&mut self, size: Size, to: Register, offset: i16, what: impl Into<Operand>) {
        match what.into() {
            Operand::Register(from) => {
                self.push(STORE | MEMORY | size as u8, to, Some(from), offset, 0);
            }
            Operand::Value(value) => {
                self.push(STORE_VALUE | MEMORY | size as u8, to, None, offset, value);
            }
        }
    }

    /// Points a register to a map that is open under this descriptor.
    pub fn map(&mut self, to: Register, descriptor: i32) {
        self.double(to, MAP, descriptor, 0);
    }

    /// Points a register into the only value of a map that is an array.
    pub fn map_value(&mut self, to: Register, descriptor: i32, offset: i32) {
        self.double(to, MAP_VALUE, descriptor, offset);
    }

    /// Calls a function of the kernel.
    pub fn call(&mut self, helper: Helper) {
        self.push(JUMP | CALL, R0, None, 0, helper as i32);
    }

    /// Ends the program; `R0` is its answer.
    pub fn exit(&mut self) {
        self.push(JUMP | EXIT, R0, None, 0, 0);
    }

    /// Goes on at the label.
    pub fn jump(&mut self, label: impl Into<Cow<'static, str>>) {
        self.jumps.push((self.code.len(), label.into()));
        self.push(JUMP, R0, None, 0, 0);
    }

    /// Jumps if the test holds, of all 64 bits.
    pub fn when(
        &mut self,
        what: Register,
        test: Test,
        other: impl Into<Operand>,
        label: impl Into<Cow<'static, str>>,
    ) {
        self.branch(JUMP, what, test, other.into(), label.into());
    }

    /// Jumps if the test holds, of the lower 32 bits.
    pub fn when_word(
        &mut self,
        what: Register,
        test: Test,
        other: impl Into<Operand>,
        label: impl Into<Cow<'static, str>>,
    ) {
        self.branch(JUMP_32, what, test, other.into(), label.into());
    }

    fn branch(&mut self, class: u8, what: Register, test: Test, other: Operand, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.step(class | test as u8, what, other);
    }

    fn calculate(&mut self, operation: u8, to: Register, what: impl Into<Operand>) {
        self.step(CALCULATE | operation, to, what.into());
    }

    fn step(&mut self, code: u8, to: Register, what: Operand) {
        match what {
            Operand::Register(from) => self.push(code | FROM_REGISTER, to, Some(from), 0, 0),
            Operand::Value(value) => self.push(code, to, None, 0, value),
        }
    }

    fn double(&mut self, to: Register, kind: Register, low: i32, high: i32) {
        self.push(LOAD_VALUE | Size::Double as u8, to, Some(kind), 0, low);
        self.push(0, R0, None, 0, high);
    }

    fn push(&mut self, code: u8, to: Register, from: Option<Register>, offset: i16, value: i32) {
        let Register(from) = from.unwrap_or(R0);
        let registers = if cfg!(target_endian = "little") {
            from << 4 | to.0
        } else {
            to.0 << 4 | from
        };
        self.code.push(Instruction {
            code,
            registers,
            offset,
            value,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(program: &[Instruction]) -> Vec<(u8, u8, i16, i32)> {
        let parts = |i: &Instruction| (i.code, i.registers, i.offset, i.value);
        program.iter().map(parts).collect()
    }

    #[test]
    fn instructions_are_the_kernels() {
        let mut code = Assembler::default();
        code.set(R6, R1);
        code.set(R0, -1);
        code.load(Size::Word, R2, R6, 16);
        code.load(Size::Double, R3, R6, 8);
        code.store(Size::Half, STACK, -14, R2);
        code.store(Size::Byte, R7, 22, 7);
        code.mask(R2, 0xff00_0000);
        code.subtract(R0, R1);
        code.call(Helper::Lookup);
        code.exit();
        // For a machine whose lowest byte comes first.
        let expected = [
            (0xbf, 0x16, 0, 0),
            (0xb7, 0x00, 0, -1),
            (0x61, 0x62, 16, 0),
            (0x79, 0x63, 8, 0),
            (0x6b, 0x2a, -14, 0),
            (0x72, 0x07, 22, 7),
            (0x54, 0x02, 0, -16_777_216),
            (0x1f, 0x10, 0, 0),
            (0x85, 0x00, 0, 1),
            (0x95, 0x00, 0, 0),
        ];
        if cfg!(target_endian = "little") {
            assert_eq!(bytes(&code.finish().unwrap()), expected);
        }
    }

    #[test]
    fn jumps_go_forth_and_back() {
        let mut code = Assembler::default();
        code.label("start");
        code.when(R1, Test::Equal, 0, "end");
        code.map(R2, 5);
        code.when_word(R1, Test::NotEqual, R2, "start");
        code.jump("end");
        code.label("end");
        code.exit();
        let program = code.finish().unwrap();
        let offsets: Vec<i16> = program.iter().map(|i| i.offset).collect();
        // A map takes the room of two instructions.
        assert_eq!(offsets, [4, 0, 0, -4, 0, 0]);
        assert_eq!(program[0].code, 0x15);
        assert_eq!((program[1].code, program[1].value), (0x18, 5));
        assert_eq!(program[3].code, 0x5e);
        assert_eq!(program[4].code, 0x05);
    }

    #[test]
    fn a_wrong_label_is_found() {
        let mut nowhere = Assembler::default();
        nowhere.jump("nowhere");
        assert_eq!(
            nowhere.finish(),
            Err(AssemblyError::NoLabel("nowhere".into()))
        );
        let mut twice = Assembler::default();
        twice.label("here");
        twice.label("here");
        assert_eq!(twice.finish(), Err(AssemblyError::TwoLabels("here".into())));
        let mut far = Assembler::default();
        far.jump("far");
        (0..40_000).for_each(|_| far.exit());
        far.label("far");
        assert_eq!(far.finish(), Err(AssemblyError::TooFar("far".into())));
    }
}
