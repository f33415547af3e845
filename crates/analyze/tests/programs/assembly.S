# Entries that compilers rarely make: loops, counted jumps, calls and jumps among the first five bytes.
    .intel_syntax noprefix
    .text
    .macro function name
    .globl \name
    .type \name, @function
    .p2align 4
\name:
    .cfi_startproc
    .endm
    .macro done name
    .cfi_endproc
    .size \name, . - \name
    .endm

function hop                    # jrcxz in the first two bytes
    mov rcx, rdi
    jrcxz 1f
    lea rax, [rcx + rcx * 2]
    ret
1:  mov eax, 99
    ret
done hop

function hop_first
    .byte 0x67
    jrcxz 1f                    # jecxz
    mov eax, edi
    ret
1:  mov eax, 77
    ret
done hop_first

function count                  # loop over a jump that is displaced
    mov ecx, edi
    loop 1f
    mov eax, 1
    ret
1:  lea eax, [rcx + 1000]
    ret
done count

function call_first             # a call is the first instruction
    call helper
    lea rax, [rax + 5]
    ret
done call_first

function call_register          # lea; call rax: the call is the last displaced one
    sub rsp, 8
    call [rip + pointer]
    add rsp, 8
    ret
done call_register

function where                  # the call must push its own return address
    call 1f
1:  pop rax
    lea rdx, [rip + 1b]
    sub rax, rdx
    ret
done where

function conditional            # a conditional jump among the first bytes
    test edi, edi
    js 1f
    lea eax, [rdi + rdi]
    ret
1:  neg edi
    mov eax, edi
    ret
done conditional

function carry                  # flags live over the exit
    mov rax, rdi
    add rax, rsi
    mov rax, 0
    adc rax, 0
    ret
done carry

function red_zone               # data below the stack pointer lives over the exit
    mov [rsp - 8], rdi
    mov [rsp - 120], rsi
    mov rax, [rsp - 8]
    add rax, [rsp - 120]
    ret
done red_zone

function tail                   # a direct and an indirect tail jump
    test edi, edi
    je 1f
    mov rax, [rip + pointer]
    mov rcx, rax
    mov rax, rcx
    jmp rax
1:  mov rax, rdi
    jmp helper
done tail

function helper
    mov eax, 41
    inc eax
    ret
done helper

function repz
    xor eax, eax
    inc eax
    rep ret
done repz

    .section .data.rel.local, "aw"
    .p2align 3
pointer: .quad helper

    .section .rodata
format: .asciz "%ld\n"

    .text
    .macro show name first=0 second=0
    mov rdi, \first
    mov rsi, \second
    mov rcx, 0
    call \name
    lea rdi, [rip + format]
    mov rsi, rax
    xor eax, eax
    call printf@plt
    .endm

function main
    push rbx
    .cfi_adjust_cfa_offset 8
    show hop 0
    show hop 14
    show hop_first 3
    show count 1
    show count 9
    show call_first
    show call_register
    show where
    show conditional 21
    show conditional -4
    show carry -1 2
    show carry 1 2
    show red_zone 30 12
    show tail 0
    show tail 1
    show repz
    pop rbx
    .cfi_adjust_cfa_offset -8
    xor eax, eax
    ret
done main
    .section .note.GNU-stack, "", @progbits
