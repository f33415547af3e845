// Exceptions through frames of displaced calls, destructors in landing pads, and threads.
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

struct Guard {
    int &count;
    ~Guard() { count++; }
};

__attribute__((noinline)) int deep(int n, int &count)
{
    Guard guard{count};
    if (n == 0) throw std::runtime_error("deep");
    return deep(n - 1, count) + 1;
}

__attribute__((noinline)) int caught(int n)
{
    int count = 0;
    try {
        deep(n, count);
    } catch (const std::exception &e) {
        return count + static_cast<int>(std::string(e.what()).size());
    }
    return -1;
}

int main()
{
    long total = 0;
    for (int i = 0; i < 50; i++) total += caught(i);
    std::map<std::string, std::vector<int>> map;
    for (int i = 0; i < 100; i++) map[std::to_string(i % 7)].push_back(i);
    for (auto &[key, value] : map) std::cout << key << ':' << value.size() << ' ';
    std::vector<std::thread> threads;
    std::vector<long> results(4);
    for (int t = 0; t < 4; t++)
        threads.emplace_back([&results, t] { for (int i = 0; i < 200; i++) results[t] += caught(t + 1); });
    for (auto &thread : threads) thread.join();
    for (long r : results) total += r;
    std::cout << total << '\n';
}
