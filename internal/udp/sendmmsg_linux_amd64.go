package udp

const sysSENDMMSG = 307 // package syscall's list is older than the call
