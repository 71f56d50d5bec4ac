//! What the trial guest runs: one boot sector.
//!
//! It goes the way a kernel goes (real mode, paging, long mode) and then does what broken virtualisation
//! is known to fail at: a locked 16-byte exchange, saving and restoring the extended state, a trap, and
//! many instructions in little time. Each stage that was passed writes its digit to the serial port. At
//! the end it faults beyond recovery, which ends a QEMU that must not reboot.

/// What a processor that works writes.
pub const PASSED: &str = "123456";

/// What the digit after the last one written would have stood for.
pub fn failed_stage(written: &str) -> &'static str {
    match written.trim_matches('\0').len() {
        0 => "it did not start",
        1 => "it did not reach long mode",
        2 => "a locked 16-byte exchange failed",
        3 => "saving the extended processor state failed",
        4 => "a trap was not delivered",
        _ => "it was too slow",
    }
}

/// The boot sector; `None` where none is written for this architecture.
pub fn boot_sector() -> Option<&'static [u8; 512]> {
    #[cfg(target_arch = "x86_64")]
    {
        unsafe extern "C" {
            static cumulet_kvm_trial: [u8; 512];
        }
        // SAFETY: the assembly below defines exactly these bytes, in a read-only section.
        Some(unsafe { &cumulet_kvm_trial })
    }
    #[cfg(not(target_arch = "x86_64"))]
    None
}

// Addresses are absolute: the firmware loads the sector at 0x7c00. Memory used: 0x1000 page tables
// (three), 0x4000 interrupt table, 0x5000 the exchanged 16 bytes, 0x6000 the saved state.
#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    r#"
    .pushsection .rodata.cumulet_kvm_trial,"a",@progbits
    .globl cumulet_kvm_trial
    .balign 16
cumulet_kvm_trial:
    .code16
    cli
    cld
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 0x7c00
    mov dx, 0x3f8
    mov al, '1'
    out dx, al
    mov di, 0x1000
    xor eax, eax
    mov cx, 0x1800
    rep stosd
    mov di, 0x1000
    mov ax, 0x2003
    stosw
    mov di, 0x2000
    mov ax, 0x3003
    stosw
    mov di, 0x3000
    mov ax, 0x83
    stosw
    mov eax, 0x1000
    mov cr3, eax
    mov eax, cr4
    or eax, 0x620
    mov cr4, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x100
    wrmsr
    mov bx, 0x7dc8
    lgdt [bx]
    mov eax, cr0
    and eax, 0xfffffff3
    or eax, 0x80000003
    mov cr0, eax
    .byte 0xea
    .short 2f - cumulet_kvm_trial + 0x7c00
    .short 8

    .code64
2:
    mov eax, 16
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov dx, 0x3f8
    mov al, '2'
    out dx, al
    mov eax, 1
    cpuid
    mov esi, ecx
    test esi, 0x2000
    jz 3f
    mov edi, 0x5000
    xor eax, eax
    xor edx, edx
    mov ebx, 7
    xor ecx, ecx
    lock cmpxchg16b [rdi]
    jnz 9f
    cmp dword ptr [rdi], 7
    jne 9f
3:
    mov dx, 0x3f8
    mov al, '3'
    out dx, al
    test esi, 0x4000000
    jz 4f
    mov rax, cr4
    or eax, 0x40000
    mov cr4, rax
    xor ecx, ecx
    mov eax, 3
    xor edx, edx
    xsetbv
    mov edi, 0x6000
    xsave64 [rdi]
    xrstor64 [rdi]
4:
    mov dx, 0x3f8
    mov al, '4'
    out dx, al
    mov edi, 0x4030
    mov word ptr [rdi], 0x7df0
    mov word ptr [rdi + 2], 8
    mov word ptr [rdi + 4], 0x8e00
    mov ebx, 0x7dd8
    lidt [rbx]
    xor ebp, ebp
    int3
    cmp ebp, 7
    jne 9f
    mov dx, 0x3f8
    mov al, '5'
    out dx, al
    mov ecx, 50000000
5:
    dec ecx
    jnz 5b
    mov al, '6'
    out dx, al
9:
    mov ebx, 0x7de8
    lidt [rbx]
    int3

    .org cumulet_kvm_trial + 0x1b0
    .quad 0
    .quad 0x00af9a000000ffff
    .quad 0x00cf92000000ffff
    .short 23
    .long 0x7db0
    .org cumulet_kvm_trial + 0x1d8
    .short 0xfff
    .quad 0x4000
    .org cumulet_kvm_trial + 0x1f0
    mov ebp, 7
    iretq
    .org cumulet_kvm_trial + 0x1fe
    .byte 0x55, 0xaa
    .popsection
    "#
);
